#include "output.h"
#include "conv_int4/plan.h"

namespace {

using subbyte::check_buffers;
using subbyte::check_pointer;
using subbyte::conv_int4::Plan;

int make_plan(const subbyte_conv_int4 *layer, Plan *plan) {
  return subbyte::conv_int4::make_plan(layer, subbyte::conv_int8::kLevels.active(), plan);
}

}  // namespace

int64_t subbyte_conv_int4_out_height(const subbyte_conv_int4 *layer) {
  Plan plan;
  return make_plan(layer, &plan) == SUBBYTE_OK ? plan.out_height : 0;
}

int64_t subbyte_conv_int4_out_width(const subbyte_conv_int4 *layer) {
  Plan plan;
  return make_plan(layer, &plan) == SUBBYTE_OK ? plan.out_width : 0;
}

size_t subbyte_conv_int4_packed_size(const subbyte_conv_int4 *layer) {
  Plan plan;
  return make_plan(layer, &plan) == SUBBYTE_OK ? plan.packed_size : 0;
}

size_t subbyte_conv_int4_scratch_size(const subbyte_conv_int4 *layer) {
  Plan plan;
  return make_plan(layer, &plan) == SUBBYTE_OK ? plan.scratch_size : 0;
}

int subbyte_conv_int4_pack(const subbyte_conv_int4 *layer, const uint8_t *codes,
                           const int8_t *levels, void *packed) {
  Plan plan;
  int status = make_plan(layer, &plan);
  if (status == SUBBYTE_OK) status = check_pointer("codes", codes);
  if (status == SUBBYTE_OK) status = check_pointer("levels", levels);
  if (status == SUBBYTE_OK) status = check_pointer("packed", packed, SUBBYTE_ALIGNMENT);
  if (status != SUBBYTE_OK) return status;
  return subbyte::conv_int4::pack(*layer, plan, codes, levels, packed);
}

int subbyte_conv_int4_run(const subbyte_conv_int4 *layer, const void *packed, const uint8_t *x,
                          const subbyte_output *output, void *y, int64_t row_begin, int64_t row_end,
                          void *scratch) {
  Plan plan;
  int status = make_plan(layer, &plan);
  if (status == SUBBYTE_OK) status = check_pointer("x", x);
  if (status == SUBBYTE_OK) status = check_buffers(packed, output, y, scratch);
  if (status != SUBBYTE_OK) return status;
  return subbyte::conv_int4::run(*layer, plan, packed, x, output, y, row_begin, row_end, scratch);
}
