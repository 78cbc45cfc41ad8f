#include "conv_int8/plan.h"
#include "output.h"

namespace {

using subbyte::check_buffers;
using subbyte::check_pointer;
using subbyte::conv_int8::Plan;

int make_plan(const subbyte_conv_int8 *layer, Plan *plan) {
  return subbyte::conv_int8::make_plan(layer, subbyte::conv_int8::kLevels.active(), plan);
}

}  // namespace

int64_t subbyte_conv_int8_out_height(const subbyte_conv_int8 *layer) {
  Plan plan;
  return make_plan(layer, &plan) == SUBBYTE_OK ? plan.out_height : 0;
}

int64_t subbyte_conv_int8_out_width(const subbyte_conv_int8 *layer) {
  Plan plan;
  return make_plan(layer, &plan) == SUBBYTE_OK ? plan.out_width : 0;
}

size_t subbyte_conv_int8_packed_size(const subbyte_conv_int8 *layer) {
  Plan plan;
  return make_plan(layer, &plan) == SUBBYTE_OK ? plan.packed_size : 0;
}

size_t subbyte_conv_int8_scratch_size(const subbyte_conv_int8 *layer) {
  Plan plan;
  return make_plan(layer, &plan) == SUBBYTE_OK ? plan.scratch_size : 0;
}

int subbyte_conv_int8_pack(const subbyte_conv_int8 *layer, const int8_t *weights, void *packed) {
  Plan plan;
  int status = make_plan(layer, &plan);
  if (status == SUBBYTE_OK) status = check_pointer("weights", weights);
  if (status == SUBBYTE_OK) status = check_pointer("packed", packed, SUBBYTE_ALIGNMENT);
  if (status == SUBBYTE_OK) subbyte::conv_int8::pack(*layer, plan, weights, packed);
  return status;
}

int subbyte_conv_int8_run(const subbyte_conv_int8 *layer, const void *packed, const uint8_t *x,
                          const subbyte_output *output, void *y, int64_t row_begin, int64_t row_end,
                          void *scratch) {
  Plan plan;
  int status = make_plan(layer, &plan);
  if (status == SUBBYTE_OK) status = check_pointer("x", x);
  if (status == SUBBYTE_OK) status = check_buffers(packed, output, y, scratch);
  if (status != SUBBYTE_OK) return status;
  return subbyte::conv_int8::run(*layer, plan, packed, x, output, y, row_begin, row_end, scratch);
}
