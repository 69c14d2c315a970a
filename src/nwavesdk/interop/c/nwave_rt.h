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

/* Without optimization, there are not enough registers for the assembly. */
#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__) && defined(__OPTIMIZE__) && !defined(NW_PORTABLE)
#define NW_DSP
#define NW_OFFSET 0u
typedef uint64_t __attribute__((may_alias, aligned(4))) nw_four_values;
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

/* A whole number times 2^-bits, which is `unit`: one conversion where the processor has it. */
NW_INLINE float nw_scaled(int32_t x, float unit, int bits)
{
#if defined(NW_DSP) && defined(__ARM_FP)
    if (bits >= 1 && bits <= 32) {
        float scaled;
        memcpy(&scaled, &x, sizeof scaled);
        __asm__("vcvt.f32.s32 %0, %0, %1" : "+t"(scaled) : "i"(bits));
        return scaled;
    }
#endif
    (void)bits;
    return (float)x * unit;
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

/* Spikes of up to 16 channels are stored in half of a word. */
NW_INLINE size_t nw_word_size(int channels) { return channels <= 16 ? 2 : 4; }

NW_INLINE uint32_t nw_spikes_at(nw_window w, const void *ring, int i)
{
    if (nw_word_size(w.channels) == 2) return ((const uint16_t *)ring)[i];
    return ((const uint32_t *)ring)[i];
}

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
                       const void *ring, int now, int y, int x)
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
                    uint32_t left = 0;
                    if (nw_inside(w, from_y, from_x + kx)) left = nw_spikes_at(w, ring, bits);
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
NW_INLINE void nw_spikes(int32_t *sums, nw_window w, const int8_t *weights, const void *ring,
                         int now, int y, int x)
{
    const int inputs = w.taps * w.kernel_height * w.kernel_width * w.channels;
    const int whole = w.outputs / 16 * 16, rest = (w.outputs - whole + 3) / 4 * 4;
    for (int c = 0; c < whole; c += 16)
        nw_rows(sums + c, w, 16, weights + c * inputs, ring, now, y, x);
    if (rest) nw_rows(sums + whole, w, rest, weights + whole * inputs, ring, now, y, x);
}

/* Copies the window of a frame at (y, x), with zeros up to a multiple of four values. */
NW_INLINE void nw_patch(int16_t *patch, nw_window w, const int8_t *ring, int now, int y, int x)
{
    int at = nw_first_tap(w, now);
    for (int tap = 0; tap < w.taps; tap++) {
        for (int ky = 0; ky < w.kernel_height; ky++) {
            const int from_y = y * w.stride_y - w.pad_y + ky, from_x = x * w.stride_x - w.pad_x;
            const int first = ((at * w.height + from_y) * w.width + from_x) * w.channels;
            NW_UNROLL
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

/* Sums over values of four outputs; the number of inputs is a multiple of four. */
NW_INLINE void nw_values(int32_t sums[4], nw_window w, int inputs, const int8_t *list,
                         const int16_t *patch)
{
    int32_t sum[4] = {0, 0, 0, 0};
    for (int i = 0; i < inputs; i += 4, list += 16) {
        NW_UNROLL
        for (int k = 0; k < 4; k++) sum[k] = nw_dot(sum[k], list + 4 * k, patch + i);
    }
    NW_UNROLL
    for (int k = 0; k < 4; k++) sums[k] = (w.adds ? sums[k] : 0) + sum[k] * w.factor;
}

/* Four weights of 16 bits of two outputs, times four values at two places. */
NW_INLINE void nw_four(int32_t sums[4], const int16_t *list, const int16_t *values,
                       const int16_t *next)
{
#if defined(NW_DSP) && !defined(__clang__)
    uint32_t a, b, c, d, e, f;
    __asm__("ldrd %4, %5, %10\n ldrd %6, %7, %11\n ldrd %8, %9, %12\n"
            "smlad %0, %8, %4, %0\n smlad %2, %8, %6, %2\n"
            "smlad %0, %9, %5, %0\n smlad %2, %9, %7, %2\n"
            "ldrd %8, %9, %13\n"
            "smlad %1, %8, %4, %1\n smlad %3, %8, %6, %3\n"
            "smlad %1, %9, %5, %1\n smlad %3, %9, %7, %3\n"
            : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3]), "=&r"(a), "=&r"(b),
              "=&r"(c), "=&r"(d), "=&r"(e), "=&r"(f)
            : "m"(*(const nw_four_values *)values), "m"(*(const nw_four_values *)next),
              "m"(*(const nw_four_values *)list), "m"(*(const nw_four_values *)(list + 4)));
#elif defined(NW_DSP)
    for (int i = 0; i < 4; i += 2) { /* Clang needs registers for addresses */
        const uint32_t first = nw_word(list + i), second = nw_word(list + 4 + i);
        sums[0] = nw_smlad(first, nw_word(values + i), sums[0]);
        sums[1] = nw_smlad(second, nw_word(values + i), sums[1]);
        sums[2] = nw_smlad(first, nw_word(next + i), sums[2]);
        sums[3] = nw_smlad(second, nw_word(next + i), sums[3]);
    }
#else
    NW_UNROLL
    for (int i = 0; i < 4; i++) {
        sums[0] += list[i] * values[i];
        sums[1] += list[4 + i] * values[i];
        sums[2] += list[i] * next[i];
        sums[3] += list[4 + i] * next[i];
    }
#endif
}

/* Sums over values of two outputs at two places, [place][output], which begin with the bias. The
 * patch of the second place follows the patch of the first one. */
NW_INLINE void nw_values_of_two(int32_t sums[4], int inputs, const int16_t *list,
                                const int16_t *patch, const int32_t *bias)
{
    sums[0] = sums[2] = bias[0];
    sums[1] = sums[3] = bias[1];
    NW_UNROLL
    for (int i = 0; i < inputs; i += 4) nw_four(sums, list + 2 * i, patch + i, patch + inputs + i);
}

/* In a probe of the self-test: random spikes in place of those of a layer, about a quarter of all. */
static NW_SEPARATE void nw_force(void *bits, int places, int channels, uint32_t *probe)
{
    uint8_t *to = bits;
    const size_t size = nw_word_size(channels);
    for (int place = 0; place < places; place++) {
        for (int left = channels; left > 0; left -= 32, to += size) {
            uint32_t drawn = left < 32 ? ~0u >> (32 - left) : ~0u;
            for (int k = 0; k < 2; k++) {
                *probe ^= *probe << 13;
                *probe ^= *probe >> 17;
                *probe ^= *probe << 5;
                drawn &= *probe;
            }
            memcpy(to, &drawn, size);
        }
    }
}

#endif
