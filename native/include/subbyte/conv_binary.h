/* Convolution and GEMM with binary weights and binary activations of order K (HORQ, arXiv
 * 1708.08687; XNOR-Net is order 1): xor and count, the binarization of x included. */
#ifndef SUBBYTE_CONV_BINARY_H
#define SUBBYTE_CONV_BINARY_H

#include "subbyte/subbyte.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What shares a scale. C is the number of channels of a group, T of taps, n = T * C, and
 * sign(0) = +1. A vector r_0 of m values is binarized to order K by
 *
 *   beta_k = mean |r_{k-1}|,  H_k = sign(r_{k-1}),  r_k = r_{k-1} - beta_k * H_k,  k = 1..K
 *
 * SUBBYTE_PER_COLUMN, the paper's: the vector is the receptive field of one output position
 *   (a column of the im2col matrix, m = n; zeros in the padding, which have signs like any
 *   other value), and scale_k = beta_k. From order 2 on, signs differ by column as well.
 * SUBBYTE_PER_PIXEL: the vector is one pixel (m = C), so that all receptive fields share its
 *   signs; scale_k of a receptive field is the mean over its pixels of their beta_k, 0 in the
 *   padding (XNOR-Net's K = A * k, for every order). The same as PER_COLUMN at order 1.
 * SUBBYTE_PER_IMAGE: the vector is one whole image (m = height * width * C), and scale_k =
 *   beta_k; padding is a zero that is binarized with the image's scales. Each call of
 *   subbyte_conv_binary_run computes the scales of the images it has rows of.
 *
 *   sum[o] = sum over k of scale_k * (n - 2 * #{t, i: H_k[t][i] differs from w[o][t][i]})
 *
 * which takes the place of the look-up layer's sum in subbyte_output (subbyte.h); the filter's
 * own scale alpha[o] belongs into its scale[o].
 *
 * The counts are exact. Floats are the same on every level, as every operation is rounded:
 * - a value of x is x + 0 (float) or x - input_zero (uint8); scales of a uint8 x are multiplied
 *   by input_scale when all else is done;
 * - |r_0| is summed pixel by pixel. Summing the C values of a pixel has 16 partial sums, of
 *   i = l mod 16 in ascending order, to which 8, 4, 2, 1 apart are then added: l += l + 8 ...
 *   A receptive field's sum is 0 + its pixels' sums, tap by tap.
 * - |r_k| for k > 0 has 16 partial sums that go on from tap to tap. But of a uint8 x of at most
 *   65536 channels, per column, at order 2, |r_1| is summed as
 *   max(0, (2 * S - A) + beta_1 * (n - 2 * N)), in double: N of the |r_0| are above beta_1, with
 *   the sum S; A is the sum of all of them.
 * - A mean is the sum divided by the number; per pixel, scale_k is the sum of the pixels' sums
 *   divided by n; per image, sums of pixels are added up in double.
 * - sum[o] is 0 + scale_1 * (...) + scale_2 * (...) ... */
enum { SUBBYTE_PER_COLUMN = 0, SUBBYTE_PER_PIXEL = 1, SUBBYTE_PER_IMAGE = 2 };

/* x is uint8 or float32; n is at most 2^24. */
typedef struct subbyte_conv_binary {
  subbyte_geometry geometry;
  int32_t order;                 /* K, 1 to 8 */
  int32_t scales;                /* SUBBYTE_PER_COLUMN, ... */
  int32_t input_type;            /* of x: SUBBYTE_UINT8 or SUBBYTE_FLOAT */
  int32_t input_zero;            /* zero point of x if uint8, 0 to 255 */
  float input_scale;             /* if uint8, positive */
} subbyte_conv_binary;

/* The level in use, as subbyte_isa(): its own, as "avx512" needs VPOPCNTDQ here; on a CPU
 * without it the next one below. */
SUBBYTE_API const char *subbyte_conv_binary_isa(void);

/* As the functions of subbyte_conv_lut16. */
SUBBYTE_API size_t subbyte_conv_binary_packed_size(const subbyte_conv_binary *layer);
SUBBYTE_API size_t subbyte_conv_binary_scratch_size(const subbyte_conv_binary *layer);

/* Pack the signs of the weights uint8 [ceil(outputs * T * C / 8)]: the sign of w[o][t][i] is bit
 * (o * T + t) * C + i, from the lowest bit of the first byte on, 1 if w is negative. images,
 * height, width, pads, strides, dilations, order, scales and input_... may be others when the
 * weights are run. */
SUBBYTE_API int subbyte_conv_binary_pack(const subbyte_conv_binary *layer, const uint8_t *signs,
                                         void *packed);

/* y is uint8 or float32 (not SUBBYTE_INT32). A float x starts at a multiple of 4 bytes. */
SUBBYTE_API int subbyte_conv_binary_run(const subbyte_conv_binary *layer, const void *packed,
                                        const void *x, const subbyte_output *output, void *y,
                                        int64_t row_begin, int64_t row_end, void *scratch);

#ifdef __cplusplus
}
#endif

#endif
