/* Look-up convolution and GEMM with codebooks of 32, 64, 128 or 256 words. */
#ifndef SUBBYTE_CONV_LUT256_H
#define SUBBYTE_CONV_LUT256_H

#include "subbyte/subbyte.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Weights, entries, sums and y are as of subbyte_conv_lut16, with `words` in place
 * of 16 and one byte a code. */
typedef struct subbyte_conv_lut256 {
  subbyte_geometry geometry;
  int64_t word_length;           /* d, 1 to 16 */
  int32_t words;                 /* K of a codebook: 32, 64, 128 or 256 */
  int32_t shared;                /* 1: one codebook; 0: book = (group of o) * G + g */
  int32_t gain_levels;           /* 0: no gain; else the length of gains, 1 to 256 */
  int32_t input_zero;            /* zero point of x, 0 to 255 */
  int32_t shift;                 /* of the table entries, 0 to 8 */
} subbyte_conv_lut256;

/* As the functions of subbyte_conv_lut16; the codebook is int8 [1 or groups * G][words][d]. */
SUBBYTE_API size_t subbyte_conv_lut256_packed_size(const subbyte_conv_lut256 *layer);
SUBBYTE_API size_t subbyte_conv_lut256_scratch_size(const subbyte_conv_lut256 *layer);
SUBBYTE_API int subbyte_conv_lut256_pack(const subbyte_conv_lut256 *layer, const uint8_t *codes,
                                         const uint8_t *gain_codes, const int8_t *gains,
                                         const int8_t *codebook, void *packed);
SUBBYTE_API int subbyte_conv_lut256_run(const subbyte_conv_lut256 *layer, const void *packed,
                                        const uint8_t *x, const subbyte_output *output, void *y,
                                        int64_t row_begin, int64_t row_end, void *scratch);

/* The same for a GEMM of 1 to SUBBYTE_CONV_LUT256_ROWS rows (height; the rest is 1), whose outputs
 * threads share: prepare makes the data that all read, in scratch, from where run_outputs computes
 * outputs output_begin <= o < output_end of all rows: whole blocks of SUBBYTE_CONV_LUT256_BLOCK, or
 * up to the last one. Scale, bias, y and the residual point to the whole arrays. */
#define SUBBYTE_CONV_LUT256_ROWS 4
#define SUBBYTE_CONV_LUT256_BLOCK 128
SUBBYTE_API int subbyte_conv_lut256_prepare(const subbyte_conv_lut256 *layer, const void *packed,
                                            const uint8_t *x, void *scratch);
SUBBYTE_API int subbyte_conv_lut256_run_outputs(const subbyte_conv_lut256 *layer,
                                                const void *packed, const void *scratch,
                                                const subbyte_output *output, void *y,
                                                int64_t output_begin, int64_t output_end);

#ifdef __cplusplus
}
#endif

#endif
