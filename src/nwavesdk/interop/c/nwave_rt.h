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

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("fp-contract=off")
#else
#pragma STDC FP_CONTRACT OFF
#endif

#if defined(__GNUC__)
#define NW_INLINE static inline __attribute__((always_inline, unused))
#define NW_SEPARATE __attribute__((noinline, unused)) /* its loops have more registers */
#define NW_UNROLL _Pragma("GCC unroll 8")
#else
#define NW_INLINE static inline
#define NW_SEPARATE
#define NW_UNROLL
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

/* A value of a frame in units of its step: rounded half to even, and saturated. */
NW_INLINE int8_t nw_round(float value, float steps_per_unit)
{
    float scaled = value * steps_per_unit;
    if (!(scaled > -127.0f)) return -127; /* NaN, too */
    if (scaled > 127.0f) return 127;
    return (int8_t)((scaled + 12582912.0f) - 12582912.0f); /* 1.5 * 2^23 leaves no fraction */
}

/* The position of the lowest bit that is set. */
NW_INLINE int nw_lowest(uint32_t x)
{
#if defined(__GNUC__)
    return __builtin_ctz(x);
#else
    int n = 0;
    for (; !(x & 1u); x >>= 1) n++;
    return n;
#endif
}

/* Four weights, or two values, as a word. */
NW_INLINE uint32_t nw_word(const void *list)
{
    uint32_t word;
#ifdef __GNUC__
    list = __builtin_assume_aligned(list, 4);
#endif
    memcpy(&word, list, sizeof word);
    return word;
}

/* The low half of a word as a signed number. */
NW_INLINE int32_t nw_low(uint32_t x) { return (int32_t)((x & 0xFFFFu) ^ 0x8000u) - 0x8000; }

#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__) && !defined(NW_PORTABLE)
#define NW_DSP
#define NW_OFFSET 0u
NW_INLINE int32_t nw_smlad(uint32_t a, uint32_t b, int32_t sum)
{
    int32_t r;
    __asm__("smlad %0, %1, %2, %3" : "=r"(r) : "r"(a), "r"(b), "r"(sum));
    return r;
}
#define NW_UNPACK(name, code)                         \
    NW_INLINE uint32_t name(uint32_t sum, uint32_t a) \
    {                                                 \
        uint32_t r;                                   \
        __asm__(code : "=r"(r) : "r"(sum), "r"(a));   \
        return r;                                     \
    }
NW_UNPACK(nw_add_even, "sxtab16 %0, %1, %2")
NW_UNPACK(nw_add_odd, "sxtab16 %0, %1, %2, ror #8")
NW_UNPACK(nw_even, "sxtb16 %0, %2 @ %1")
NW_UNPACK(nw_odd, "sxtb16 %0, %2, ror #8 @ %1")
#else
#define NW_OFFSET 0x80808080u /* w + 128 for each of four weights; nw_store_pair subtracts it */
NW_INLINE uint32_t nw_add_even(uint32_t sum, uint32_t four) { return sum + (four & 0x00FF00FFu); }
NW_INLINE uint32_t nw_add_odd(uint32_t sum, uint32_t four) { return sum + (four >> 8 & 0x00FF00FFu); }
#endif

/* A constant with 8 or 16 bits after the point. */
NW_INLINE float nw_fraction(uint32_t x, int bits)
{
#if defined(NW_DSP) && defined(__ARM_FP)
    float fraction;
    memcpy(&fraction, &x, sizeof fraction);
    if (bits == 8) __asm__("vcvt.f32.u32 %0, %0, #8" : "+t"(fraction));
    else __asm__("vcvt.f32.u32 %0, %0, #16" : "+t"(fraction));
    return fraction;
#else
    return (float)x * (bits == 8 ? 0.00390625f : 1.52587890625e-5f);
#endif
}

/* A window over steps, places and channels of values. All numbers are constants of net.c, so that
 * each call is compiled for its own shape. A ring has `depth` steps; the latest is `now`. */
typedef struct {
    int taps, dilation, depth, offset;
    int height, width, channels, words;
    int kernel_height, kernel_width, stride_y, stride_x, pad_y, pad_x;
    int outputs; /* channels of the output */
    int adds;    /* whether sums are added to, not set */
    int factor;  /* of all weights */
    int is_wide; /* whether sums over spikes can exceed 16 bits */
} nw_window;

#define NW_ADVANCE(at, depth) at = (uint16_t)(at + 1 < depth ? at + 1 : 0)

NW_INLINE int nw_first_tap(nw_window w, int now)
{
    int at = now - w.offset - (w.taps - 1) * w.dilation;
    return at < 0 ? at + w.depth : at;
}

NW_INLINE int nw_inside(nw_window w, int y, int x)
{
    if (w.pad_y == 0 && w.pad_x == 0) return 1;
    return y >= 0 && y < w.height && x >= 0 && x < w.width;
}

/* The rows of spikes have 4, 8, 12 or 16 weights of 8 bits, which are added two at a time as halves
 * of a word. */
#define NW_ADD_FOUR(k)                                          \
    if (width > 4 * k) {                                        \
        const uint32_t four = nw_word(row + 4 * k) ^ NW_OFFSET; \
        even##k = nw_add_even(even##k, four);                   \
        odd##k = nw_add_odd(odd##k, four);                      \
    }

NW_INLINE void nw_store_pair(int32_t *sums, nw_window w, uint32_t pair, uint32_t rows)
{
#ifdef NW_DSP
    (void)rows;
    const int32_t low = nw_low(pair), high = nw_low(pair >> 16);
#else
    /* A carry from the low half is in the high half: it goes with the low sum. */
    const uint32_t both = pair - rows * 0x00800080u;
    const int32_t low = nw_low(both), high = nw_low((both - (uint32_t)low) >> 16);
#endif
    sums[0] = (w.adds ? sums[0] : 0) + low * w.factor;
    sums[2] = (w.adds ? sums[2] : 0) + high * w.factor;
}

#define NW_STORE_FOUR(k)                                    \
    if (width > 4 * k) {                                    \
        nw_store_pair(sums + 4 * k, w, even##k, n_rows);    \
        nw_store_pair(sums + 4 * k + 1, w, odd##k, n_rows); \
        even##k = odd##k = 0;                               \
    }

#define NW_STORE     \
    NW_STORE_FOUR(0) \
    NW_STORE_FOUR(1) \
    NW_STORE_FOUR(2) \
    NW_STORE_FOUR(3) \
    n_rows = 0;

/* Adds the rows of all spikes in the window at (y, x) to the sums of `width` outputs. */
NW_INLINE void nw_rows(int32_t *sums, nw_window w, int width, const int8_t *rows,
                       const uint32_t *ring, int now, int y, int x)
{
    uint32_t even0 = 0, even1 = 0, even2 = 0, even3 = 0, odd0 = 0, odd1 = 0, odd2 = 0, odd3 = 0;
    uint32_t n_rows = 0;
    int at = nw_first_tap(w, now);
    const int last_word = w.words - 1;

    /* The sums of the rows of a word fit into 16 bits, and wide sums add them up. */
    if (w.is_wide && !w.adds) memset(sums, 0, (size_t)width * sizeof *sums);
    if (w.is_wide) w.adds = 1;

    for (int tap = 0; tap < w.taps; tap++) {
        for (int ky = 0; ky < w.kernel_height; ky++) {
            const int from_y = y * w.stride_y - w.pad_y + ky, from_x = x * w.stride_x - w.pad_x;
            int bits = ((at * w.height + from_y) * w.width + from_x) * w.words;
            for (int kx = 0; kx < w.kernel_width; kx++) {
                for (int word = 0; word < w.words; word++, bits++) {
                    uint32_t left = nw_inside(w, from_y, from_x + kx) ? ring[bits] : 0;
                    for (; left; left &= left - 1u) {
                        const int8_t *row = rows + nw_lowest(left) * width;
                        n_rows++;
                        NW_ADD_FOUR(0)
                        NW_ADD_FOUR(1)
                        NW_ADD_FOUR(2)
                        NW_ADD_FOUR(3)
                    }
                    rows += (word < last_word ? 32 : w.channels - 32 * last_word) * width;
                    if (w.is_wide && n_rows) {
                        NW_STORE
                    }
                }
            }
        }
        at += w.dilation;
        if (at >= w.depth) at -= w.depth;
    }
    if (!w.is_wide) {
        NW_STORE
    }
}

/* Sums over spikes. The weights lie in blocks of 16 outputs. */
NW_INLINE void nw_spikes(int32_t *sums, nw_window w, const int8_t *weights, const uint32_t *ring,
                         int now, int y, int x)
{
    const int inputs = w.taps * w.kernel_height * w.kernel_width * w.channels;
    const int whole = w.outputs / 16 * 16, rest = (w.outputs - whole + 3) / 4 * 4;
    for (int c = 0; c < whole; c += 16)
        nw_rows(sums + c, w, 16, weights + c * inputs, ring, now, y, x);
    if (rest) nw_rows(sums + whole, w, rest, weights + whole * inputs, ring, now, y, x);
}

/* Copies the window of a frame at (y, x), with zeros up to a multiple of four values. */
NW_INLINE void nw_patch(int16_t *patch, nw_window w, const int16_t *ring, int now, int y, int x)
{
    int at = nw_first_tap(w, now);
    for (int tap = 0; tap < w.taps; tap++) {
        for (int ky = 0; ky < w.kernel_height; ky++) {
            const int from_y = y * w.stride_y - w.pad_y + ky, from_x = x * w.stride_x - w.pad_x;
            const int first = ((at * w.height + from_y) * w.width + from_x) * w.channels;
            for (int i = 0; i < w.kernel_width * w.channels; i++)
                *patch++ = nw_inside(w, from_y, from_x + i / w.channels) ? ring[first + i] : 0;
        }
        at += w.dilation;
        if (at >= w.depth) at -= w.depth;
    }
    for (int i = w.taps * w.kernel_height * w.kernel_width * w.channels; i & 3; i++) *patch++ = 0;
}

/* Four weights of 8 bits, in the order 0 2 1 3, times four values. */
NW_INLINE int32_t nw_dot(int32_t sum, const int8_t *list, const int16_t *values)
{
#ifdef NW_DSP
    const uint32_t four = nw_word(list);
    sum = nw_smlad(nw_even(four, four), nw_word(values), sum);
    return nw_smlad(nw_odd(four, four), nw_word(values + 2), sum);
#else
    return sum + list[0] * values[0] + list[2] * values[1] + list[1] * values[2] +
           list[3] * values[3];
#endif
}

/* Sums over values, four outputs at a time; outputs and inputs are multiples of four. */
NW_INLINE void nw_values(int32_t *sums, nw_window w, int inputs, const int8_t *list,
                         const int16_t *patch)
{
    for (int c = 0; c < w.outputs; c += 4) {
        int32_t sum[4] = {0, 0, 0, 0};
        for (int i = 0; i < inputs; i += 4, list += 16) {
            NW_UNROLL
            for (int k = 0; k < 4; k++) sum[k] = nw_dot(sum[k], list + 4 * k, patch + i);
        }
        NW_UNROLL
        for (int k = 0; k < 4; k++) sums[c + k] = (w.adds ? sums[c + k] : 0) + sum[k] * w.factor;
    }
}

/* Four weights of 16 bits of two outputs, times four values at two places. */
NW_INLINE void nw_four(int32_t sum[4], const int16_t *list, const int16_t *values,
                       const int16_t *next)
{
#ifdef NW_DSP
    uint32_t t0, t1, t2, t3, t4, t5;
    __asm__ volatile("ldrd %4, %5, [%11]\n ldrd %6, %7, [%12]\n ldrd %8, %9, [%10]\n"
                     "smlad %0, %8, %4, %0\n smlad %1, %8, %6, %1\n"
                     "smlad %0, %9, %5, %0\n smlad %1, %9, %7, %1\n"
                     "ldrd %8, %9, [%10, #8]\n"
                     "smlad %2, %8, %4, %2\n smlad %3, %8, %6, %3\n"
                     "smlad %2, %9, %5, %2\n smlad %3, %9, %7, %3\n"
                     : "+r"(sum[0]), "+r"(sum[1]), "+r"(sum[2]), "+r"(sum[3]), "=&r"(t0),
                       "=&r"(t1), "=&r"(t2), "=&r"(t3), "=&r"(t4), "=&r"(t5)
                     : "r"(list), "r"(values), "r"(next)
                     : "memory");
#else
    NW_UNROLL
    for (int i = 0; i < 4; i++) {
        sum[0] += list[i] * values[i];
        sum[1] += list[i] * next[i];
        sum[2] += list[4 + i] * values[i];
        sum[3] += list[4 + i] * next[i];
    }
#endif
}

/* Sums over values at two places, with weights of 16 bits: sums and patch of the second place
 * follow those of the first one. They begin with the bias. */
NW_INLINE void nw_values_of_two(int32_t *sums, nw_window w, int inputs, const int16_t *list,
                                const int16_t *patch, const int32_t *bias)
{
    int32_t *next = sums + (w.outputs + 3) / 4 * 4;
    const int32_t *first = w.adds ? sums : bias, *second = w.adds ? next : bias;
    for (int c = 0; c < w.outputs; c += 2) {
        int32_t sum[4] = {first[c], second[c], first[c + 1], second[c + 1]};
        NW_UNROLL
        for (int i = 0; i < inputs; i += 4, list += 8)
            nw_four(sum, list, patch + i, patch + inputs + i);
        sums[c] = sum[0];
        next[c] = sum[1];
        sums[c + 1] = sum[2];
        next[c + 1] = sum[3];
    }
}

/* The spikes of `count` neurons; in a probe of the self-test, random ones, about a quarter of all. */
NW_INLINE uint32_t nw_fired(uint32_t fired, int count, uint32_t *probe)
{
    if (*probe == 0) return fired;
    uint32_t drawn = ~0u >> (32 - count);
    for (int k = 0; k < 2; k++) {
        *probe ^= *probe << 13;
        *probe ^= *probe >> 17;
        *probe ^= *probe << 5;
        drawn &= *probe;
    }
    return drawn;
}

#endif
