/* GEMM of few rows, y[rows][outputs] = x[rows][inputs]: as fast as weights come from memory,
 * so they stay as few bits there as they have. Two forms: look-up (codes of 16 words, with or
 * without a gain) and unpack (2, 3 or 4 bits a weight, any levels).
 *
 * A call is one *_prepare, then *_run for disjoint parts of the outputs, on as many threads as
 * the caller likes: all of them read the one scratch buffer that prepare has filled. Weights
 * are read once for every 8 rows. */
#ifndef SUBBYTE_GEMV_H
#define SUBBYTE_GEMV_H

#include "subbyte/subbyte.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The parts of outputs that *_run computes begin and end at multiples of this (or at their
 * number). */
SUBBYTE_API int64_t subbyte_gemv_block(void);

/* The weights, entries and sums of subbyte_conv_lut16's GEMM of one group, the same to the bit. */
typedef struct subbyte_gemv_lut16 {
  int64_t rows, inputs, outputs;
  int64_t word_length; /* d, 1 to 16 */
  int32_t shared;      /* 1: one codebook; 0: one for each of the G = ceil(inputs / d) words */
  int32_t gain_levels; /* 0: no gain; else the length of gains, 1 to 16 */
  int32_t input_zero;  /* zero point of x, 0 to 255 */
  int32_t shift;       /* of the table entries, 0 to 8 */
} subbyte_gemv_lut16;

/* w[o][i] = levels[codes[o][i]], sum[o] = sum over i of w[o][i] * (x[i] - input_zero), exact
 * in int32 for up to 65536 inputs; y from it as subbyte_output says. */
typedef struct subbyte_gemv_int4 {
  int64_t rows, inputs, outputs;
  int32_t bits;       /* of a code: 2, 3 or 4 */
  int32_t input_zero; /* zero point of x, 0 to 255 */
} subbyte_gemv_int4;

/* Bytes of the packed weights, in the layout of this process's level: the codes in 4 bits or
 * `bits`, the gain codes in as few bits as gain_levels take. */
SUBBYTE_API size_t subbyte_gemv_lut16_packed_size(const subbyte_gemv_lut16 *layer);
SUBBYTE_API size_t subbyte_gemv_int4_packed_size(const subbyte_gemv_int4 *layer);

/* Pack codes and gain_codes uint8 [outputs][G] (gain_codes and gains may be NULL without
 * gain), gains and codebook int8 [1 or G][16][d] as subbyte_conv_lut16_pack takes them. */
SUBBYTE_API int subbyte_gemv_lut16_pack(const subbyte_gemv_lut16 *layer, const uint8_t *codes,
                                        const uint8_t *gain_codes, const int8_t *gains,
                                        const int8_t *codebook, void *packed);

/* Pack codes uint8 [outputs][inputs] and levels int8 [2^bits]. */
SUBBYTE_API int subbyte_gemv_int4_pack(const subbyte_gemv_int4 *layer, const uint8_t *codes,
                                       const int8_t *levels, void *packed);

/* Bytes of scratch one call needs, for any number of threads. */
SUBBYTE_API size_t subbyte_gemv_lut16_scratch_size(const subbyte_gemv_lut16 *layer);
SUBBYTE_API size_t subbyte_gemv_int4_scratch_size(const subbyte_gemv_int4 *layer);

/* Fill scratch from x uint8 [rows][inputs]. rows may differ from those at packing. */
SUBBYTE_API int subbyte_gemv_lut16_prepare(const subbyte_gemv_lut16 *layer, const void *packed,
                                           const uint8_t *x, void *scratch);
SUBBYTE_API int subbyte_gemv_int4_prepare(const subbyte_gemv_int4 *layer, const void *packed,
                                          const uint8_t *x, void *scratch);

/* Compute outputs output_begin <= o < output_end of all rows of y. Scale, bias, y and the
 * residual point to the whole arrays; scratch is as prepare left it for this layer. */
SUBBYTE_API int subbyte_gemv_lut16_run(const subbyte_gemv_lut16 *layer, const void *packed,
                                       const void *scratch, const subbyte_output *output, void *y,
                                       int64_t output_begin, int64_t output_end);
SUBBYTE_API int subbyte_gemv_int4_run(const subbyte_gemv_int4 *layer, const void *packed,
                                      const void *scratch, const subbyte_output *output, void *y,
                                      int64_t output_begin, int64_t output_end);

#ifdef __cplusplus
}
#endif

#endif
