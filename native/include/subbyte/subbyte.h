/* subbyte's native kernels: look-up convolution and GEMM on few-bit weights.
 *
 * Plain C, no dependency, no allocation, no threads: the caller owns every buffer and may
 * split the rows of one call over its own threads (one scratch buffer each).
 *
 * Functions that return int return SUBBYTE_OK or one of the codes below; functions that
 * return a size return 0 on error. subbyte_error() then says what, expected and got.
 */
#ifndef SUBBYTE_SUBBYTE_H
#define SUBBYTE_SUBBYTE_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define SUBBYTE_API __attribute__((visibility("default")))
#else
#define SUBBYTE_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum {
  SUBBYTE_OK = 0,
  SUBBYTE_BAD_ISA = 1,   /* SUBBYTE_ISA names no level, or one this CPU does not have */
  SUBBYTE_BAD_SHAPE = 2, /* a size, stride, padding, shift ... out of its range */
  SUBBYTE_BAD_DATA = 3,  /* a code, gain or codebook entry out of its range */
  SUBBYTE_BAD_BUFFER = 4 /* null or misaligned pointer, or weights packed for another layer */
};

/* packed and scratch buffers start at a multiple of this many bytes */
#define SUBBYTE_ALIGNMENT 64

/* The level in use: "reference", "portable", "avx2" or "avx512". The best one this CPU has,
 * or the one the environment variable SUBBYTE_ISA names; chosen once per process.
 * NULL where SUBBYTE_ISA cannot be met; every other function then fails as well. */
SUBBYTE_API const char *subbyte_isa(void);

/* The calling thread's last error, one line; "" before the first. */
SUBBYTE_API const char *subbyte_error(void);

/* A convolution whose weights are product codes of 16 words:
 *
 *   w[o][t][i] = gains[gain_codes[o][t][g]] * codebook[book][codes[o][t][g]][i % d],  g = i / d
 *
 * with d = word_length, o < outputs, taps t = kernel[0] * kernel[1] (row-major), and
 * i < inputs / groups the input channels of one group of the convolution, which has
 * G = ceil(inputs / groups / d) codes a tap; gain = 1 where gain_levels is 0.
 * A GEMM y[M][outputs] = x[M][inputs] is height M, width 1, kernel 1 x 1. */
typedef struct subbyte_lookup {
  int64_t images, height, width; /* of x: uint8 [images][height][width][inputs] */
  int64_t inputs, outputs;       /* channels, over all groups */
  int64_t groups;                /* of the convolution */
  int64_t kernel[2], strides[2], dilations[2]; /* vertical, horizontal */
  int64_t pads[4];               /* top, left, bottom, right: filled with input_zero */
  int64_t word_length;           /* d, 1 to 16 */
  int32_t shared;                /* 1: one codebook; 0: book = (group of o) * G + g */
  int32_t gain_levels;           /* 0: no gain; else the length of gains, 1 to 256 */
  int32_t input_zero;            /* zero point of x, 0 to 255 */
  int32_t shift;                 /* of the table entries, 0 to 8 */
} subbyte_lookup;

/* What is done with the sums
 *
 *   sum[o] = over t, g of gain[o][t][g] * entry(t, g, codes[o][t][g])
 *   entry  = clamp((sum over i of word[i] * (x[i] - input_zero) + half) >> shift, -128, 127)
 *
 * half = 2^(shift - 1), 0 for shift 0; >> rounds down. Entries never saturate at shift 8.
 * Sums are exact in int32 and the same on every level.
 *
 *   SUBBYTE_INT32: y = sum
 *   SUBBYTE_FLOAT: y = sum * scale[o] + bias[o] (+ residual_scale * (r - residual_zero))
 *   SUBBYTE_UINT8: the same, rounded half to even, + zero, clamped to low .. high; the
 *                  caller has divided scale, bias and residual_scale by y's own scale
 *
 * With a residual and an inner_scale that is not 0, what is added to the residual is a
 * quantized value itself, q = clamp(round_half_even(sum * scale[o] + bias[o]), -inner_zero,
 * 255 - inner_zero):  y = q * inner_scale + residual_scale * (r - residual_zero)
 *
 * in float32, each operation rounded: the same on every level. y and r have the layout
 * [images][out_height][out_width][outputs] and any alignment. */
enum { SUBBYTE_UINT8 = 0, SUBBYTE_FLOAT = 1, SUBBYTE_INT32 = 2 };

typedef struct subbyte_output {
  int32_t type;            /* SUBBYTE_UINT8, SUBBYTE_FLOAT or SUBBYTE_INT32 */
  const float *scale;      /* [outputs] */
  const float *bias;       /* [outputs] */
  const uint8_t *residual; /* NULL or r */
  float residual_scale;
  int32_t residual_zero, zero, low, high; /* 0 to 255, low <= high */
  float inner_scale;       /* 0: no rounding before the residual is added */
  int32_t inner_zero;      /* 0 to 255 */
} subbyte_output;

/* Height and width of y, 0 if the layer is not valid. */
SUBBYTE_API int64_t subbyte_lookup_out_height(const subbyte_lookup *layer);
SUBBYTE_API int64_t subbyte_lookup_out_width(const subbyte_lookup *layer);

/* Bytes of the packed weights, in the layout of this process's level. */
SUBBYTE_API size_t subbyte_lookup_packed_size(const subbyte_lookup *layer);

/* Pack codes and gain_codes uint8 [outputs][taps][G] (gain_codes and gains may be NULL
 * without gain), gains int8 [gain_levels] within +-64, and codebook int8 [1 or groups * G]
 * [16][d], of each word the positive and the negative entries each summing to at most 126. */
SUBBYTE_API int subbyte_lookup_pack(const subbyte_lookup *layer, const uint8_t *codes,
                                    const uint8_t *gain_codes, const int8_t *gains,
                                    const int8_t *codebook, void *packed);

/* Bytes of scratch one thread needs. */
SUBBYTE_API size_t subbyte_lookup_scratch_size(const subbyte_lookup *layer);

/* Compute rows row_begin <= row < row_end of y, counted over all images (images * out_height
 * in all). x, y and the residual point to the whole tensors. images, height, width, pads and
 * strides may differ from those the weights were packed with. */
SUBBYTE_API int subbyte_lookup_run(const subbyte_lookup *layer, const void *packed,
                                   const uint8_t *x, const subbyte_output *output, void *y,
                                   int64_t row_begin, int64_t row_end, void *scratch);

#ifdef __cplusplus
}
#endif

#endif
