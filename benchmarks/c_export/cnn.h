/* A convolutional net in int8 that gets a row of its picture at a time, for comparison.
 *
 * It has the loops of products of the runtime of spiking nets, and keeps three rows of the input of
 * each layer, so that it needs little memory. Rows have a column of zeros on both sides. The file
 * that includes this one defines the shapes and tables.
 */
#include "nwave_rt.h"

/* Rows are copied as words, not by the memcpy of a small C library, which copies bytes. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-tree-loop-distribute-patterns")
#endif

typedef struct {
    int width, channels, outputs;
    int pools; /* 1 if a pool of 2 x 2 follows */
} cnn_shape;

/* Width of a row of the ring, with zeros on both sides, and even. */
#define CNN_ROW(width) ((width) / 2 * 2 + 2 + 2 * ((width) % 2))
/* Values under the kernel, up to a multiple of four. */
#define CNN_VALUES(channels) ((9 * (channels) + 3) / 4 * 4)

/* A sum of a channel times its scale, rounded, and from 0 to 127. */
NW_INLINE int16_t cnn_activation(int32_t sum, int32_t scale)
{
    const int32_t value = (int32_t)(((int64_t)sum * scale + ((int64_t)1 << 31)) >> 32);
    return (int16_t)(value < 0 ? 0 : value > 127 ? 127 : value);
}

NW_INLINE void cnn_patch(int16_t *patch, cnn_shape s, const int16_t *ring, int oldest, int x)
{
    const int row = CNN_ROW(s.width) * s.channels;
    int at = oldest;
    for (int tap = 0; tap < 3; tap++) {
        const int16_t *from = ring + at * row + x * s.channels;
        NW_UNROLL
        for (int i = 0; i < 3 * s.channels; i++) *patch++ = from[i];
        at = at == 2 ? 0 : at + 1;
    }
    for (int i = 9 * s.channels; i & 3; i++) *patch++ = 0;
}

/* The sums of all outputs at one place, or at two places together. */
NW_INLINE void cnn_sums(int32_t *sums, cnn_shape s, const cnn_weight *weights, const int16_t *patch)
{
    const int inputs = CNN_VALUES(s.channels);
#if CNN_PLACES == 2
    static const int32_t bias[2] = {0, 0};
    for (int c = 0; c < s.outputs; c += 2, weights += 2 * inputs) {
        int32_t four[4];
        nw_values_of_two(four, inputs, weights, patch, bias);
        sums[c] = four[0];
        sums[c + 1] = four[1];
        sums[s.outputs + c] = four[2];
        sums[s.outputs + c + 1] = four[3];
    }
#else
    const nw_window w = {.factor = 1};
    for (int c = 0; c < s.outputs; c += 4)
        nw_values(sums + c, w, inputs, weights + c * inputs, patch);
#endif
}

/* A row of outputs [width][outputs] from the three rows of the ring. */
NW_INLINE void cnn_convolve(int16_t *out, cnn_shape s, const int16_t *ring, int oldest,
                            const cnn_weight *weights, const int32_t *scales, int16_t *patch,
                            int32_t *sums)
{
    const int inputs = CNN_VALUES(s.channels);
    for (int x = 0; x < s.width; x += CNN_PLACES) {
        for (int p = 0; p < CNN_PLACES; p++)
            cnn_patch(patch + p * inputs, s, ring, oldest, x + p);
        cnn_sums(sums, s, weights, patch);
        for (int p = 0; p < CNN_PLACES && x + p < s.width; p++)
            for (int c = 0; c < s.outputs; c++)
                *out++ = cnn_activation(sums[p * s.outputs + c], scales[c]);
    }
}

/* The maximum of pairs of places, and of the row before if there is one. */
NW_INLINE void cnn_pool(int16_t *pooled, cnn_shape s, const int16_t *row, int has_row)
{
    for (int x = 0; x < s.width; x += 2)
        for (int c = 0; c < s.outputs; c++) {
            const int16_t *at = row + x * s.outputs + c;
            int16_t most = *at;
            if (x + 1 < s.width && at[s.outputs] > most) most = at[s.outputs];
            if (!has_row || most > *pooled) *pooled = most;
            pooled++;
        }
}

NW_INLINE void cnn_store(int16_t *ring, cnn_shape s, int slot, const int16_t *row)
{
    int16_t *to = ring + (slot * CNN_ROW(s.width) + 1) * s.channels;
    for (int i = 0; i < s.width * s.channels; i++) to[i] = row ? row[i] : (int16_t)0;
}

/* A layer that gets a row, or NULL after the last one, and passes its rows on. */
#define CNN_LAYER(k, next)                                                                     \
    static NW_SEPARATE void layer##k(net_state *net, const int16_t *row)                       \
    {                                                                                          \
        const cnn_shape s = SHAPE##k;                                                          \
        const int slot = net->rows##k % 3;                                                     \
        cnn_store(net->ring##k, s, slot, row);                                                 \
        if (net->rows##k++ > 0) {                                                              \
            cnn_convolve(net->out, s, net->ring##k, slot == 2 ? 0 : slot + 1, weights##k,       \
                         scales##k, net->patch, net->sums);                                    \
            if (s.pools) {                                                                     \
                const int is_second = net->rows##k % 2;                                        \
                cnn_pool(net->pooled##k, s, net->out, is_second);                              \
                if (is_second || !row) next(net, net->pooled##k);                              \
            } else {                                                                           \
                memcpy(net->pooled##k, net->out, sizeof net->pooled##k);                       \
                next(net, net->pooled##k);                                                     \
            }                                                                                  \
        }                                                                                      \
        if (!row) next(net, 0);                                                                \
    }
