#include "conv_binary/plan.h"
#include "output.h"

namespace {

using subbyte::check_buffers;
using subbyte::check_pointer;
using subbyte::conv_binary::Plan;

int make_plan(const subbyte_conv_binary *layer, Plan *plan) {
  return subbyte::conv_binary::make_plan(layer, subbyte::conv_binary::kLevels.active(), plan);
}

}  // namespace

const char *subbyte_conv_binary_isa(void) {
  const auto *active = subbyte::conv_binary::kLevels.active();
  return active == nullptr ? nullptr : active->name;
}

int64_t subbyte_conv_binary_out_height(const subbyte_conv_binary *layer) {
  Plan plan;
  return make_plan(layer, &plan) == SUBBYTE_OK ? plan.out_height : 0;
}

int64_t subbyte_conv_binary_out_width(const subbyte_conv_binary *layer) {
  Plan plan;
  return make_plan(layer, &plan) == SUBBYTE_OK ? plan.out_width : 0;
}

size_t subbyte_conv_binary_packed_size(const subbyte_conv_binary *layer) {
  Plan plan;
  return make_plan(layer, &plan) == SUBBYTE_OK ? plan.packed_size : 0;
}

size_t subbyte_conv_binary_scratch_size(const subbyte_conv_binary *layer) {
  Plan plan;
  return make_plan(layer, &plan) == SUBBYTE_OK ? plan.scratch_size : 0;
}

int subbyte_conv_binary_pack(const subbyte_conv_binary *layer, const uint8_t *signs, void *packed) {
  Plan plan;
  int status = make_plan(layer, &plan);
  if (status == SUBBYTE_OK) status = check_pointer("signs", signs);
  if (status == SUBBYTE_OK) status = check_pointer("packed", packed, SUBBYTE_ALIGNMENT);
  if (status == SUBBYTE_OK) subbyte::conv_binary::pack(*layer, plan, signs, packed);
  return status;
}

int subbyte_conv_binary_run(const subbyte_conv_binary *layer, const void *packed, const void *x,
                            const subbyte_output *output, void *y, int64_t row_begin,
                            int64_t row_end, void *scratch) {
  Plan plan;
  int status = make_plan(layer, &plan);
  if (status == SUBBYTE_OK) {
    status = check_pointer("x", x, layer->input_type == SUBBYTE_FLOAT ? sizeof(float) : 1);
  }
  if (status == SUBBYTE_OK) status = check_buffers(packed, output, y, scratch);
  if (status != SUBBYTE_OK) return status;
  return subbyte::conv_binary::run(*layer, plan, packed, x, output, y, row_begin, row_end, scratch);
}
