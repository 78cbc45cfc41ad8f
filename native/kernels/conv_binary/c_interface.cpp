#include "c_interface.h"

#include "conv_binary/plan.h"

namespace c_interface = subbyte::c_interface;
using Plan = subbyte::conv_binary::Plan;

const char *subbyte_conv_binary_isa(void) {
  const auto *active = Plan::isa_levels().active();
  return active == nullptr ? nullptr : active->name;
}

size_t subbyte_conv_binary_packed_size(const subbyte_conv_binary *layer) {
  return c_interface::packed_size<Plan>(layer);
}

size_t subbyte_conv_binary_scratch_size(const subbyte_conv_binary *layer) {
  return c_interface::scratch_size<Plan>(layer);
}

int subbyte_conv_binary_pack(const subbyte_conv_binary *layer, const uint8_t *signs, void *packed) {
  return c_interface::pack_array<Plan>(layer, "signs", signs, packed);
}

int subbyte_conv_binary_run(const subbyte_conv_binary *layer, const void *packed, const void *x,
                            const subbyte_output *output, void *y, int64_t row_begin,
                            int64_t row_end, void *scratch) {
  return c_interface::run_rows<Plan>(layer, packed, x, output, y, row_begin, row_end, scratch);
}
