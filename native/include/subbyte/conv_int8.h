/* Convolution and GEMM with int8 weights: all layers that are not worth a look-up. */
#ifndef SUBBYTE_CONV_INT8_H
#define SUBBYTE_CONV_INT8_H

#include "subbyte/subbyte.h"

#ifdef __cplusplus
extern "C" {
#endif

/* sum[o] = over taps t, channels i of w[o][t][i] * (x[t][i] - input_zero), exact in int32;
 * y from it as subbyte_output says. A group has at most 65536 products a sum. Depthwise: groups = inputs = outputs. */
typedef struct subbyte_conv_int8 {
  subbyte_geometry geometry;
  int32_t input_zero;            /* zero point of x, 0 to 255 */
} subbyte_conv_int8;

/* As the functions of subbyte_conv_lut16. */
SUBBYTE_API size_t subbyte_conv_int8_packed_size(const subbyte_conv_int8 *layer);
SUBBYTE_API size_t subbyte_conv_int8_scratch_size(const subbyte_conv_int8 *layer);

/* Pack weights int8 [outputs][taps][inputs / groups]. As there, images, height, width, pads
 * and strides may be others when they are run; dilations may not. */
SUBBYTE_API int subbyte_conv_int8_pack(const subbyte_conv_int8 *layer, const int8_t *weights,
                                       void *packed);

SUBBYTE_API int subbyte_conv_int8_run(const subbyte_conv_int8 *layer, const void *packed,
                                      const uint8_t *x, const subbyte_output *output, void *y,
                                      int64_t row_begin, int64_t row_end, void *scratch);

#ifdef __cplusplus
}
#endif

#endif
