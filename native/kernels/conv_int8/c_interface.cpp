#include "c_interface.h"

#include "conv_int8/plan.h"

namespace c_interface = subbyte::c_interface;
using Plan = subbyte::conv_int8::Plan;

size_t subbyte_conv_int8_packed_size(const subbyte_conv_int8 *layer) {
  return c_interface::packed_size<Plan>(layer);
}

size_t subbyte_conv_int8_scratch_size(const subbyte_conv_int8 *layer) {
  return c_interface::scratch_size<Plan>(layer);
}

int subbyte_conv_int8_pack(const subbyte_conv_int8 *layer, const int8_t *weights, void *packed) {
  return c_interface::pack_array<Plan>(layer, "weights", weights, packed);
}

int subbyte_conv_int8_run(const subbyte_conv_int8 *layer, const void *packed, const uint8_t *x,
                          const subbyte_output *output, void *y, int64_t row_begin, int64_t row_end,
                          void *scratch) {
  return c_interface::run_rows<Plan>(layer, packed, x, output, y, row_begin, row_end, scratch);
}
