/* Layers without weights on quantized values x = scale * (q - zero), q uint8. */
#ifndef SUBBYTE_ELEMENTWISE_H
#define SUBBYTE_ELEMENTWISE_H

#include "subbyte/subbyte.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Results differ from the results of a file's own functions (docs/format.md), which divide where
 * these multiply, by one code at most.
 *
 * quantize(v) = clamp(round_half_even(v) + zero, 0, 255); all arithmetic is float32, each
 * operation rounded: the same on every level. Scales are positive and finite. */
typedef struct subbyte_quantized {
  float scale;
  int32_t zero; /* 0 to 255 */
} subbyte_quantized;

#define SUBBYTE_MAX_RANK 8

enum { SUBBYTE_ADD = 0, SUBBYTE_MUL = 1 };

/* y = x + r or x * r with broadcasting: y has this shape and is contiguous, x and r have
 * these strides in elements, 0 where a dimension is repeated.
 *
 *   add: y = quantize((x - x.zero) * (x.scale / y.scale) + (r - r.zero) * (r.scale / y.scale))
 *   mul: y = quantize((x - x.zero) * (r - r.zero) * (x.scale * r.scale / y.scale)) */
typedef struct subbyte_pairwise {
  int32_t operation;
  int32_t rank; /* 1 to SUBBYTE_MAX_RANK */
  int64_t shape[SUBBYTE_MAX_RANK], x_strides[SUBBYTE_MAX_RANK], r_strides[SUBBYTE_MAX_RANK];
  subbyte_quantized x, r, y;
} subbyte_pairwise;

/* Rows begin to end: the last dimension is one row. */
SUBBYTE_API int64_t subbyte_pairwise_rows(const subbyte_pairwise *job); /* 0 on error */
SUBBYTE_API int subbyte_pairwise_run(const subbyte_pairwise *job, const uint8_t *x,
                                     const uint8_t *r, uint8_t *y, int64_t row_begin,
                                     int64_t row_end);

/* y = quantize_y((x - x.zero) * (x.scale / y.scale)), `rows` runs of `length` bytes, from
 * `x_stride` to `y_stride` bytes, as a concatenation does with each of its inputs. */
typedef struct subbyte_requantize {
  int64_t rows, length, x_stride, y_stride;
  subbyte_quantized x, y;
} subbyte_requantize;

SUBBYTE_API int subbyte_requantize_run(const subbyte_requantize *job, const uint8_t *x,
                                       uint8_t *y);

/* y[i] = table[x[i]] for begin <= i < end: a function of one value, of whose 256 codes `table`
 * holds the results. x and y do not overlap. */
SUBBYTE_API int subbyte_map_run(const uint8_t *table, const uint8_t *x, uint8_t *y,
                                int64_t begin, int64_t end);

/* y[pixel][j * groups + g] = x[pixel][g * (channels / groups) + j], for begin <= pixel < end.
 * x and y do not overlap. */
typedef struct subbyte_shuffle {
  int64_t channels, groups; /* of a pixel; groups divides channels */
} subbyte_shuffle;

SUBBYTE_API int subbyte_shuffle_run(const subbyte_shuffle *job, const uint8_t *x, uint8_t *y,
                                    int64_t begin, int64_t end);

enum { SUBBYTE_MAX_POOL = 0, SUBBYTE_AVERAGE_POOL = 1 };

/* Pooling of x [images][height][width][channels] to y [images][out_height][out_width][channels].
 * Windows may reach beyond the bottom and right padding (ceil_mode), never begin there.
 *
 *   max:     the largest code in the window; padding does not count
 *   average: quantize_y(sum of (x - x.zero) * (x.scale / y.scale / count)), count: the pixels
 *            of the window in x, or with count_padding those in x and its padding */
typedef struct subbyte_pool {
  int32_t operation, count_padding;
  int64_t images, height, width, channels, out_height, out_width;
  int64_t kernel[2], strides[2], dilations[2], pads[4];
  subbyte_quantized x, y; /* average only */
} subbyte_pool;

/* Rows of y, over all images. */
SUBBYTE_API int subbyte_pool_run(const subbyte_pool *job, const uint8_t *x, uint8_t *y,
                                 int64_t row_begin, int64_t row_end);

#ifdef __cplusplus
}
#endif

#endif
