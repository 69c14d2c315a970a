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
#else
#define NW_INLINE static inline
#define NW_SEPARATE
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

#ifdef __GNUC__
#define NW_LOWEST(x) __builtin_ctz(x)
#else
static int nw_lowest(uint32_t x)
{
    int n = 0;
    for (; !(x & 1u); x >>= 1) n++;
    return n;
}
#define NW_LOWEST(x) nw_lowest(x)
#endif

#if defined(__GNUC__) && !defined(__clang__)
#define NW_UNROLL _Pragma("GCC unroll 8")
#else
#define NW_UNROLL
#endif

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
NW_UNPACK(nw_sxtab16, "sxtab16 %0, %1, %2")
NW_UNPACK(nw_sxtab16_8, "sxtab16 %0, %1, %2, ror #8")
NW_UNPACK(nw_sxtb16, "sxtb16 %0, %2 @ %1")
NW_UNPACK(nw_sxtb16_8, "sxtb16 %0, %2, ror #8 @ %1")
#endif

/* A window over steps, places and channels of a source. All numbers are constants of net.c, so that
 * each call is compiled for its own shape. A ring has `depth` steps; the latest is `now`. */
typedef struct {
    int taps, dilation, depth, offset;
    int height, width, channels, words;
    int kernel_height, kernel_width, stride_y, stride_x, pad_y, pad_x;
    int outputs; /* channels of the output */
    int adds;    /* whether sums are added to, not set */
    int factor;  /* of all weights */
} nw_window;

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

/* How the rows of spikes are added. NW_PAIRS: rows of 4, 8, 12 or 16 weights of 8 bits, two at a
 * time as halves of a word; it is proved that the sums fit into 16 bits. NW_WIDE8, NW_WIDE16: rows
 * of all outputs, with sums of 32 bits in memory. */
enum { NW_PAIRS, NW_WIDE8, NW_WIDE16 };

/* Portable code adds w + 128 of four weights, and subtracts 128 per row at the end. */
#ifdef NW_DSP
#define NW_ADD_FOUR(k)                                  \
    if (width > 4 * k) {                                \
        const uint32_t four = nw_word(row + 4 * k);     \
        even##k = nw_sxtab16(even##k, four);            \
        odd##k = nw_sxtab16_8(odd##k, four);            \
    }
#else
#define NW_ADD_FOUR(k)                                              \
    if (width > 4 * k) {                                            \
        const uint32_t four = nw_word(row + 4 * k) ^ 0x80808080u;   \
        even##k += four & 0x00FF00FFu;                              \
        odd##k += (four >> 8) & 0x00FF00FFu;                        \
    }
#endif

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

#define NW_STORE_FOUR(k)                                         \
    if (width > 4 * k) {                                         \
        nw_store_pair(sums + 4 * k, w, even##k, n_rows);    \
        nw_store_pair(sums + 4 * k + 1, w, odd##k, n_rows); \
    }

/* Adds the rows of all spikes in the window at (y, x) to the sums of `width` outputs. */
NW_INLINE void nw_rows(int32_t *sums, nw_window w, int kind, int width, const void *weights,
                       const uint32_t *ring, int now, int y, int x)
{
    uint32_t even0 = 0, even1 = 0, even2 = 0, even3 = 0, odd0 = 0, odd1 = 0, odd2 = 0, odd3 = 0;
    uint32_t n_rows = 0;
    const int size = kind == NW_WIDE16 ? 2 : 1;
    const int8_t *place = weights;
    int at = nw_first_tap(w, now);

    if (kind != NW_PAIRS && !w.adds)
        for (int c = 0; c < width; c++) sums[c] = 0;

    for (int tap = 0; tap < w.taps; tap++) {
        for (int ky = 0; ky < w.kernel_height; ky++) {
            const int from_y = y * w.stride_y - w.pad_y + ky, from_x = x * w.stride_x - w.pad_x;
            int bits = ((at * w.height + from_y) * w.width + from_x) * w.words;
            for (int kx = 0; kx < w.kernel_width; kx++, bits += w.words) {
                for (int word = 0; word < w.words; word++) {
                    uint32_t left = nw_inside(w, from_y, from_x + kx) ? ring[bits + word] : 0;
                    const int8_t *rows = place + 32 * word * width * size;
                    for (; left; left &= left - 1u) {
                        const int8_t *row = rows + NW_LOWEST(left) * width * size;
                        n_rows++;
                        if (kind == NW_PAIRS) {
                            NW_ADD_FOUR(0)
                            NW_ADD_FOUR(1)
                            NW_ADD_FOUR(2)
                            NW_ADD_FOUR(3)
                        } else if (kind == NW_WIDE8) {
                            for (int c = 0; c < width; c++) sums[c] += row[c] * w.factor;
                        } else {
                            const int16_t *wide = (const void *)row;
                            for (int c = 0; c < width; c++) sums[c] += wide[c] * w.factor;
                        }
                    }
                }
                place += w.channels * width * size;
            }
        }
        at += w.dilation;
        if (at >= w.depth) at -= w.depth;
    }

    if (kind == NW_PAIRS) {
        NW_STORE_FOUR(0)
        NW_STORE_FOUR(1)
        NW_STORE_FOUR(2)
        NW_STORE_FOUR(3)
    }
}

/* Sums over spikes. The weights lie in blocks of 16 outputs, or in one block for wide sums. */
NW_INLINE void nw_spikes(int32_t *sums, nw_window w, int kind, const void *weights,
                         const uint32_t *ring, int now, int y, int x)
{
    if (kind != NW_PAIRS) {
        nw_rows(sums, w, kind, w.outputs, weights, ring, now, y, x);
        return;
    }
    const int inputs = w.taps * w.kernel_height * w.kernel_width * w.channels;
    const int8_t *block = weights;
    const int whole = w.outputs / 16 * 16, rest = (w.outputs - whole + 3) / 4 * 4;
    for (int c = 0; c < whole; c += 16, block += 16 * inputs)
        nw_rows(sums + c, w, kind, 16, block, ring, now, y, x);
    if (rest) nw_rows(sums + whole, w, kind, rest, block, ring, now, y, x);
}

/* Copies the window of a frame at (y, x), with zeros up to a multiple of four values. */
NW_INLINE void nw_patch(int16_t *patch, nw_window w, const int16_t *ring, int now, int y, int x)
{
    const int row = w.kernel_width * w.channels;
    int at = nw_first_tap(w, now);
    for (int tap = 0; tap < w.taps; tap++) {
        for (int ky = 0; ky < w.kernel_height; ky++, patch += row) {
            const int from_y = y * w.stride_y - w.pad_y + ky, from_x = x * w.stride_x - w.pad_x;
            const int first = ((at * w.height + from_y) * w.width + from_x) * w.channels;
            if (w.pad_y == 0 && w.pad_x == 0) {
                memcpy(patch, ring + first, (size_t)row * sizeof *patch);
            } else {
                for (int i = 0; i < row; i++)
                    patch[i] = nw_inside(w, from_y, from_x + i / w.channels) ? ring[first + i] : 0;
            }
        }
        at += w.dilation;
        if (at >= w.depth) at -= w.depth;
    }
    for (int i = w.taps * w.kernel_height * row; i & 3; i++) *patch++ = 0;
}

/* Four weights of 8 bits, in the order 0 2 1 3, times four values. */
#ifdef NW_DSP
#define NW_DOT(k)                                                                       \
    (word = nw_word(list + 4 * k), sum##k = nw_smlad(nw_sxtb16(word, word), x0, sum##k),      \
     sum##k = nw_smlad(nw_sxtb16_8(word, word), x1, sum##k))
#else
#define NW_DOT(k)                                                                       \
    (sum##k += list[4 * k] * patch[i] + list[4 * k + 2] * patch[i + 1] +                \
               list[4 * k + 1] * patch[i + 2] + list[4 * k + 3] * patch[i + 3])
#endif

/* Sums over values, four outputs at a time; outputs and inputs are multiples of four. */
NW_INLINE void nw_values(int32_t *sums, nw_window w, int inputs, const int8_t *list,
                         const int16_t *patch)
{
    for (int c = 0; c < w.outputs; c += 4) {
        int32_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
        for (int i = 0; i < inputs; i += 4, list += 16) {
#ifdef NW_DSP
            const uint32_t x0 = nw_word(patch + i), x1 = nw_word(patch + i + 2);
            uint32_t word;
#endif
            NW_DOT(0);
            NW_DOT(1);
            NW_DOT(2);
            NW_DOT(3);
        }
        sums[c] = (w.adds ? sums[c] : 0) + sum0 * w.factor;
        sums[c + 1] = (w.adds ? sums[c + 1] : 0) + sum1 * w.factor;
        sums[c + 2] = (w.adds ? sums[c + 2] : 0) + sum2 * w.factor;
        sums[c + 3] = (w.adds ? sums[c + 3] : 0) + sum3 * w.factor;
    }
}

/* Four weights of 16 bits of two outputs, times four values at two places. */
#ifdef NW_DSP
#define NW_FOUR                                                                         \
    {                                                                                   \
        uint32_t t0, t1, t2, t3, t4, t5;                                                \
        __asm__ volatile("ldrd %4, %5, [%11]\n ldrd %6, %7, [%12]\n ldrd %8, %9, [%10]\n" \
                         "smlad %0, %8, %4, %0\n smlad %1, %8, %6, %1\n"                \
                         "smlad %0, %9, %5, %0\n smlad %1, %9, %7, %1\n"                \
                         "ldrd %8, %9, [%10, #8]\n"                                     \
                         "smlad %2, %8, %4, %2\n smlad %3, %8, %6, %3\n"                \
                         "smlad %2, %9, %5, %2\n smlad %3, %9, %7, %3\n"                \
                         : "+r"(a0), "+r"(a1), "+r"(b0), "+r"(b1), "=&r"(t0), "=&r"(t1), \
                           "=&r"(t2), "=&r"(t3), "=&r"(t4), "=&r"(t5)                   \
                         : "r"(list), "r"(patch + i), "r"(patch + inputs + i)           \
                         : "memory");                                                   \
    }
#else
#define NW_MAC(k)                                                                       \
    (u0 = list[k], u1 = list[4 + k], x0 = patch[i + k], x1 = patch[inputs + i + k],     \
     a0 += u0 * x0, a1 += u0 * x1, b0 += u1 * x0, b1 += u1 * x1)
#define NW_FOUR                                                                         \
    {                                                                                   \
        int32_t u0, u1, x0, x1;                                                         \
        NW_MAC(0), NW_MAC(1), NW_MAC(2), NW_MAC(3);                                     \
    }
#endif

/* Sums over values at two places, with weights of 16 bits: sums and patch of the second place
 * follow those of the first one. They begin with the bias, if there is one. */
NW_INLINE void nw_values_of_two(int32_t *sums, nw_window w, int inputs, const int16_t *list,
                                const int16_t *patch, const int32_t *bias)
{
    int32_t *next = sums + (w.outputs + 3) / 4 * 4;
    for (int c = 0; c < w.outputs; c += 2) {
        int32_t a0 = bias ? bias[c] : 0, b0 = bias ? bias[c + 1] : 0, a1 = a0, b1 = b0;
        NW_UNROLL
        for (int i = 0; i < inputs; i += 4, list += 8) NW_FOUR
        sums[c] = (w.adds ? sums[c] : 0) + a0;
        sums[c + 1] = (w.adds ? sums[c + 1] : 0) + b0;
        next[c] = (w.adds ? next[c] : 0) + a1;
        next[c + 1] = (w.adds ? next[c + 1] : 0) + b1;
    }
}

/* Adds a value times its weights to charges that wait for later steps, [depth][outputs]. */
#define NW_DELAY_FUNCTION(name, weight, delay, charge)                                       \
    NW_INLINE void name(charge *waiting, int depth, int now, int outputs, const weight *row, \
                        const delay *delays, int32_t x)                                      \
    {                                                                                        \
        for (int c = 0; c < outputs; c++) {                                                  \
            int at = now + delays[c];                                                        \
            charge *sum = waiting + (at >= depth ? at - depth : at) * outputs + c;           \
            *sum = (charge)(*sum + x * row[c]);                                              \
        }                                                                                    \
    }

/* The maximum of spikes over windows of places. */
NW_INLINE void nw_pool(uint32_t *out, const uint32_t *bits, int width, int words, int out_height,
                       int out_width, int kernel_height, int kernel_width, int stride_y,
                       int stride_x)
{
    for (int y = 0; y < out_height; y++)
        for (int x = 0; x < out_width; x++)
            for (int word = 0; word < words; word++) {
                uint32_t any = 0;
                for (int ky = 0; ky < kernel_height; ky++)
                    for (int kx = 0; kx < kernel_width; kx++)
                        any |= bits[((y * stride_y + ky) * width + x * stride_x + kx) * words + word];
                *out++ = any;
            }
}

/* Replaces the spikes of a layer by random ones, about a quarter of all, for the self-test. */
static NW_SEPARATE void nw_force(uint32_t *bits, int places, int words, int channels, uint32_t *seed)
{
    for (int i = 0; i < places * words; i++) {
        uint32_t drawn = ~0u;
        for (int k = 0; k < 2; k++) {
            *seed ^= *seed << 13;
            *seed ^= *seed >> 17;
            *seed ^= *seed << 5;
            drawn &= *seed;
        }
        const int rest = channels - 32 * (i % words);
        bits[i] = rest < 32 ? drawn & ((1u << rest) - 1u) : drawn;
    }
}

#endif
