#include "c_interface.h"

#include "conv_lut16/plan.h"

namespace c_interface = subbyte::c_interface;
using Plan = subbyte::conv_lut16::Plan;

size_t subbyte_conv_lut16_packed_size(const subbyte_conv_lut16 *layer) {
  return c_interface::packed_size<Plan>(layer);
}

size_t subbyte_conv_lut16_scratch_size(const subbyte_conv_lut16 *layer) {
  return c_interface::scratch_size<Plan>(layer);
}

int subbyte_conv_lut16_pack(const subbyte_conv_lut16 *layer, const uint8_t *codes,
                            const uint8_t *gain_codes, const int8_t *gains, const int8_t *codebook,
                            void *packed) {
  return c_interface::pack_words<Plan>(layer, codes, gain_codes, gains, codebook, packed);
}

int subbyte_conv_lut16_run(const subbyte_conv_lut16 *layer, const void *packed, const uint8_t *x,
                           const subbyte_output *output, void *y, int64_t row_begin,
                           int64_t row_end, void *scratch) {
  return c_interface::run_rows<Plan>(layer, packed, x, output, y, row_begin, row_end, scratch);
}
