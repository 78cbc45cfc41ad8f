#include "c_interface.h"

#include "conv_int4/plan.h"

namespace c_interface = subbyte::c_interface;
using Plan = subbyte::conv_int4::Plan;

size_t subbyte_conv_int4_packed_size(const subbyte_conv_int4 *layer) {
  return c_interface::packed_size<Plan>(layer);
}

size_t subbyte_conv_int4_scratch_size(const subbyte_conv_int4 *layer) {
  return c_interface::scratch_size<Plan>(layer);
}

int subbyte_conv_int4_pack(const subbyte_conv_int4 *layer, const uint8_t *codes,
                           const int8_t *levels, void *packed) {
  return c_interface::pack_levels<Plan>(layer, codes, levels, packed);
}

int subbyte_conv_int4_run(const subbyte_conv_int4 *layer, const void *packed, const uint8_t *x,
                          const subbyte_output *output, void *y, int64_t row_begin, int64_t row_end,
                          void *scratch) {
  return c_interface::run_rows<Plan>(layer, packed, x, output, y, row_begin, row_end, scratch);
}
