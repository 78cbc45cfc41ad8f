/* Look-up convolution and GEMM with codebooks of 16 words. */
#ifndef SUBBYTE_CONV_LUT16_H
#define SUBBYTE_CONV_LUT16_H

#include "subbyte/subbyte.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A convolution whose weights are product codes of 16 words:
 *
 *   w[o][t][i] = gains[gain_codes[o][t][g]] * codebook[book][codes[o][t][g]][i % d],  g = i / d
 *
 * with d = word_length, o < outputs, taps t = kernel[0] * kernel[1] (row-major), and
 * i < inputs / groups the input channels of one group of the convolution, which has
 * G = ceil(inputs / groups / d) codes a tap; gain = 1 where gain_levels is 0. */
typedef struct subbyte_conv_lut16 {
  subbyte_geometry geometry;     /* x is uint8 */
  int64_t word_length;           /* d, 1 to 16 */
  int32_t shared;                /* 1: one codebook; 0: book = (group of o) * G + g */
  int32_t gain_levels;           /* 0: no gain; else the length of gains, 1 to 256 */
  int32_t input_zero;            /* zero point of x, 0 to 255 */
  int32_t shift;                 /* of the table entries, 0 to 8 */
} subbyte_conv_lut16;

/* The sums of y (subbyte_output):
 *
 *   sum[o] = over t, g of gain[o][t][g] * entry(t, g, codes[o][t][g])
 *   entry  = clamp((sum over i of word[i] * (x[i] - input_zero) + half) >> shift, -128, 127)
 *
 * half = 2^(shift - 1) - g % 2, 0 for shift 0; >> rounds down. Entries never saturate at shift 8.
 * Sums are exact in int32 and the same on every level. */

/* Bytes of the packed weights, in the layout of this process's level. */
SUBBYTE_API size_t subbyte_conv_lut16_packed_size(const subbyte_conv_lut16 *layer);

/* Pack codes and gain_codes uint8 [outputs][taps][G] (gain_codes and gains may be NULL
 * without gain), gains int8 [gain_levels] within +-64, and codebook int8 [1 or groups * G]
 * [16][d], of each word the positive and the negative entries each summing to at most 126. */
SUBBYTE_API int subbyte_conv_lut16_pack(const subbyte_conv_lut16 *layer, const uint8_t *codes,
                                        const uint8_t *gain_codes, const int8_t *gains,
                                        const int8_t *codebook, void *packed);

/* Bytes of scratch one thread needs. */
SUBBYTE_API size_t subbyte_conv_lut16_scratch_size(const subbyte_conv_lut16 *layer);

/* Compute rows row_begin <= row < row_end of y, counted over all images (images * out_height
 * in all). x, y and the residual point to the whole tensors. images, height, width, pads and
 * strides may differ from those the weights were packed with. */
SUBBYTE_API int subbyte_conv_lut16_run(const subbyte_conv_lut16 *layer, const void *packed,
                                       const uint8_t *x, const subbyte_output *output, void *y,
                                       int64_t row_begin, int64_t row_end, void *scratch);

#ifdef __cplusplus
}
#endif

#endif
