/* Log-mel frames of a sound in integers: C99 without libraries.
 *
 * The file that includes this defines the tables lm_... and the macros LM_... of a front end before.
 * Products are summed in 64 bits and rounded once, so that no order of additions changes a bit.
 * Negative numbers are not shifted.
 */
#if defined(__GNUC__)
#define LM_INLINE static inline __attribute__((always_inline, unused))
#define LM_FUNCTION static __attribute__((noinline, unused))
#define LM_UNROLL _Pragma("GCC unroll 2")
#else
#define LM_INLINE static inline
#define LM_FUNCTION static inline
#define LM_UNROLL
#endif

/* A product of 64 bits, divided by 2^32 and rounded. */
LM_INLINE int32_t lm_high(int64_t product)
{
    union { uint32_t bits; int32_t value; } high;
    high.bits = (uint32_t)((uint64_t)product >> 32) + ((uint32_t)((uint64_t)product) >> 31);
    return high.value;
}

LM_INLINE nwave_complex lm_sum(nwave_complex a, nwave_complex b)
{
    return (nwave_complex){a.re + b.re, a.im + b.im};
}

LM_INLINE nwave_complex lm_difference(nwave_complex a, nwave_complex b)
{
    return (nwave_complex){a.re - b.re, a.im - b.im};
}

/* A result of a stage: half of it, turned clockwise by an angle, where LM_TURN is a full turn. The
 * last stage, with 1 point, neither turns nor halves. */
LM_INLINE nwave_complex lm_turned(nwave_complex a, int32_t angle, int32_t points)
{
    if (points == 1) return a;
    if (angle == 0) return (nwave_complex){a.re / 2, a.im / 2};
    const int64_t cosine = lm_cosines[angle], minus_sine = lm_cosines[angle + LM_TURN / 4];
    return (nwave_complex){lm_high(a.re * cosine + -a.im * minus_sine),
                           lm_high(a.im * cosine + a.re * minus_sine)};
}

/* A stage reads x[q + stride * (p + points * j)] and writes y[q + stride * (radix * p + k)], where
 * j and k count the radix. */
LM_INLINE void lm_stage(const nwave_complex *x, nwave_complex *y, int32_t radix, int32_t points,
                        int32_t stride)
{
    const int32_t next = points * stride, half = radix / 2;
    for (int32_t p = 0; p < points; p++, y += (radix - 1) * stride) {
        const int32_t angle = p * (LM_TURN / radix / points);
        for (int32_t q = 0; q < stride; q++, x++, y++) {
            if (radix == 2) {
                y[0] = lm_turned(lm_sum(x[0], x[next]), 0, points);
                y[stride] = lm_turned(lm_difference(x[0], x[next]), angle, points);
                continue;
            }

            /* An odd radix: a root of unity and its conjugate share the products. */
            nwave_complex total = x[0], sums[LM_MAX_RADIX / 2 + 1], differences[LM_MAX_RADIX / 2 + 1];
            LM_UNROLL
            for (int32_t j = 1; j <= half; j++) {
                sums[j] = lm_sum(x[j * next], x[(radix - j) * next]);
                differences[j] = lm_difference(x[j * next], x[(radix - j) * next]);
                total = lm_sum(total, sums[j]);
            }
            y[0] = lm_turned(total, 0, points);

            LM_UNROLL
            for (int32_t k = 1; k <= half; k++) {
                int64_t re = 0, im = 0, turned_re = 0, turned_im = 0;
                LM_UNROLL
                for (int32_t j = 1; j <= half; j++) {
                    const int32_t *root = lm_cosines + j * k % radix * (LM_TURN / radix);
                    re += sums[j].re * (int64_t)root[0];
                    im += sums[j].im * (int64_t)root[0];
                    turned_re += differences[j].re * (int64_t)root[LM_TURN / 4];
                    turned_im += differences[j].im * (int64_t)root[LM_TURN / 4];
                }
                const nwave_complex real = {x[0].re + 2 * lm_high(re), x[0].im + 2 * lm_high(im)};
                const nwave_complex turned = {-2 * lm_high(turned_im), 2 * lm_high(turned_re)};
                const int32_t last = radix - k;
                y[k * stride] = lm_turned(lm_sum(real, turned), k * angle, points);
                y[last * stride] = lm_turned(lm_difference(real, turned), last * angle, points);
            }
        }
    }
}

/* Sample i times its taper, which is symmetric, in the fixed point of the transform. */
LM_INLINE int32_t lm_tapered(const int16_t *samples, int32_t i)
{
    const int32_t mirrored = LM_WIDTH - 1 - i, taper = lm_taper[i < mirrored ? i : mirrored];
    const uint32_t product = (uint32_t)(samples[i] * taper), offset = 0x80000000u;
    return (int32_t)((product + offset + (1u << LM_SHIFT >> 1)) >> LM_SHIFT)
           - (int32_t)(offset >> LM_SHIFT);
}

/* A window times its taper. Pairs of samples are complex numbers if its width is even. */
LM_FUNCTION void lm_window(const int16_t *samples, nwave_complex *values)
{
    for (int32_t i = 0; i < LM_WIDTH; i += LM_WIDTH / LM_SIZE, values++) {
        values->re = lm_tapered(samples, i);
        values->im = LM_WIDTH % 2 ? 0 : lm_tapered(samples, i + 1);
    }
}

LM_INLINE uint64_t lm_power(nwave_complex a)
{
    return (uint64_t)((int64_t)a.re * a.re + (int64_t)a.im * a.im);
}

/* The power of each frequency, in place of the transform. */
LM_FUNCTION void lm_spectrum(nwave_complex *values, uint64_t *power)
{
    for (int32_t k = 0; k <= LM_SIZE / 2; k++) {
#if LM_WIDTH % 2
        power[k] = lm_power(values[k]);
#else
        /* The sum with the mirrored conjugate has the spectrum of the even samples; the difference,
         * times -i, the spectrum of the odd samples. Both are twice as large. */
        const nwave_complex a = values[k], b = values[k ? LM_SIZE - k : 0];
        const nwave_complex even_twice = {a.re + b.re, a.im - b.im};
        const nwave_complex odd_twice = {a.im + b.im, b.re - a.re};
        const nwave_complex even = lm_turned(even_twice, 0, LM_SIZE);
        const nwave_complex odd = lm_turned(odd_twice, k * (LM_TURN / LM_WIDTH), LM_SIZE);
        power[k] = lm_power(lm_sum(even, odd));
        power[LM_SIZE - k] = lm_power(lm_difference(even, odd));
#endif
    }
}

LM_FUNCTION void lm_sum_bands(const uint64_t *power, uint64_t *bands)
{
    const uint16_t *weight = lm_weights;
    for (int32_t band = 0; band < LM_BANDS; band++) {
        const uint64_t *first = power + lm_first[band], *end = first + lm_counts[band];
        uint64_t high = 0, low = 0;
        for (; first < end; first++, weight++) {
            high += (*first >> 32) * *weight;
            low += (uint64_t)(uint32_t)*first * *weight;
        }
        bands[band] = (high << (16 - lm_shifts[band])) + (low >> (16 + lm_shifts[band]));
    }
}

/* The logarithm to base 2 of a number from 1, with 15 bits after the point. */
LM_FUNCTION int32_t lm_log2(uint64_t number)
{
    uint32_t exponent = number >> 32 ? 32 : 0, rest = (uint32_t)(number >> exponent);
    for (uint32_t bits = 16; bits; bits /= 2) {
        if (rest >> bits) {
            rest >>= bits;
            exponent += bits;
        }
    }

    /* The leading bit becomes bit 31. Then 5 bits are a step of the table, 16 bits between steps. */
    const uint32_t mantissa = (uint32_t)(number << (63 - exponent) >> 32);
    const uint16_t *step = lm_logarithms + (mantissa >> 26 & 31);
    const uint32_t between = mantissa >> 10 & 0xffff, rise = (uint32_t)step[1] - step[0];
    return (int32_t)((exponent << 15) + step[0] + (rise * between >> 16));
}

#if LM_IS_RUNNING
/* A number times a factor of 32 bits, divided by 2^32 and rounded down. */
LM_INLINE uint64_t lm_scaled(uint64_t number, uint32_t factor)
{
    return (number >> 32) * factor + ((uint64_t)(uint32_t)number * factor >> 32);
}

/* The weight of the next frame in the running mean of each band. */
LM_FUNCTION uint32_t lm_gain(struct LM_STRUCT *state)
{
    state->past = (uint32_t)lm_scaled(state->past, LM_DECAY) + 0x10000u;
    return 0xffffffffu / (state->past >> 8) << 8;
}

/* The running mean of the power of a band; a frame counts in its own mean. */
LM_INLINE uint64_t lm_level(struct LM_STRUCT *state, int32_t band, uint32_t gain)
{
    uint64_t *level = state->levels + band;
    *level = *level - lm_scaled(*level, gain) + lm_scaled(state->bands[band], gain);
    return *level > LM_MIN_LEVEL ? *level : LM_MIN_LEVEL;
}
#endif

LM_FUNCTION void lm_frame(struct LM_STRUCT *state, int8_t *frame)
{
    nwave_complex *a = state->buffers[0].values, *b = state->buffers[1].values;
    lm_window(state->samples, a);
    LM_TRANSFORM(a, b);
    lm_spectrum(LM_RESULT.values, LM_RESULT.power);
    lm_sum_bands(LM_RESULT.power, state->bands);
#if LM_IS_RUNNING
    const uint32_t gain = lm_gain(state);
#endif
    for (int32_t band = 0; band < LM_BANDS; band++) {
#if LM_IS_RUNNING
        const uint64_t level = lm_level(state, band, gain), silence = lm_scaled(level, LM_SILENCE);
        const int32_t power = lm_log2(state->bands[band] + silence) - lm_log2(level);
#else
        const int32_t power = lm_log2(state->bands[band] + LM_SILENCE);
#endif
        const int32_t value = lm_high((int64_t)(power - lm_means[band]) * lm_factors[band]);
        frame[band] = (int8_t)(value > 127 ? 127 : value < -127 ? -127 : value);
    }
}

void LM_INIT(struct LM_STRUCT *state)
{
    state->filled = 0;
#if LM_IS_RUNNING
    for (int32_t band = 0; band < LM_BANDS; band++) state->levels[band] = LM_FIRST_LEVEL;
    state->past = LM_FIRST_PAST;
#endif
}

int LM_PUSH(struct LM_STRUCT *state, int16_t sample, int8_t *frame)
{
    /* Below 0, the samples between two windows are skipped. */
    if (state->filled >= 0) state->samples[state->filled] = sample;
    state->filled++;
    if (state->filled < LM_WIDTH) return 0;

    lm_frame(state, frame);
    for (int32_t i = LM_HOP; i < LM_WIDTH; i++) state->samples[i - LM_HOP] = state->samples[i];
    state->filled = LM_WIDTH - LM_HOP;
    return 1;
}
