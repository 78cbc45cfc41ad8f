/* Convolution and GEMM with weights of 3 or 4 bits, which stay packed in memory. */
#ifndef SUBBYTE_CONV_INT4_H
#define SUBBYTE_CONV_INT4_H

#include "subbyte/subbyte.h"

#ifdef __cplusplus
extern "C" {
#endif

/* w = levels[codes], and sums and y from it as of subbyte_conv_int8, the same to the bit. A panel
 * of weights at a time is unpacked to int8, for all pixels of a call: worth while from a few dozen
 * pixels on. No depthwise layers. */
typedef struct subbyte_conv_int4 {
  subbyte_geometry geometry;
  int32_t input_zero;            /* zero point of x, 0 to 255 */
  int32_t bits;                  /* of a code: 3 or 4 */
} subbyte_conv_int4;

/* As the functions of subbyte_conv_int8. */
SUBBYTE_API size_t subbyte_conv_int4_packed_size(const subbyte_conv_int4 *layer);
SUBBYTE_API size_t subbyte_conv_int4_scratch_size(const subbyte_conv_int4 *layer);

/* Pack codes uint8 [outputs][taps][inputs / groups] and levels int8 [2^bits]. */
SUBBYTE_API int subbyte_conv_int4_pack(const subbyte_conv_int4 *layer, const uint8_t *codes,
                                       const int8_t *levels, void *packed);

SUBBYTE_API int subbyte_conv_int4_run(const subbyte_conv_int4 *layer, const void *packed,
                                      const uint8_t *x, const subbyte_output *output, void *y,
                                      int64_t row_begin, int64_t row_end, void *scratch);

#ifdef __cplusplus
}
#endif

#endif
