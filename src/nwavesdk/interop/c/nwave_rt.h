/* Runtime of a spiking net that nwavesdk exported: C99, no allocation, no library but math.h.
 *
 * Charges are integers, and a neuron computes in float32. All sums are exact, so that the order of
 * additions does not change a bit. A fused product and sum would: the lines below prevent it.
 */
#ifndef NWAVE_RT_H
#define NWAVE_RT_H

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__FAST_MATH__)
#error "-ffast-math changes results: compile without it"
#endif
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16
#error "float must be computed as float: FLT_EVAL_METHOD is not 0 (for 32-bit x86, -msse2 -mfpmath=sse)"
#endif
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the weights are read as words, which needs a little-endian processor"
#endif

#ifndef NW_NO_GUARD
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#else
#pragma STDC FP_CONTRACT OFF
#endif
#endif

#if defined(__GNUC__)
#define NW_INLINE static inline __attribute__((always_inline, unused))
#else
#define NW_INLINE static inline
#endif

/* e^x as the solver of nwavesdk computes it: the polynomial of S. L. Moshier's Cephes library. */
NW_INLINE float nw_exp(float x)
{
    float low = x < -87.33f ? -87.33f : x;
    float bounded = low > 88.72f ? 88.72f : low;
    float power = floorf(bounded * 1.44269504f + 0.5f);
    float r = (bounded - power * 0.693359375f) + power * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    float whole = power == power ? power : 0.0f;
    uint32_t bits = (uint32_t)((int32_t)whole + 127) << 23;
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return (p * (r * r) + r + 1.0f) * scale;
}

#endif
