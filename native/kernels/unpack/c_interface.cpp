#include "int8/select.h"
#include "output.h"
#include "unpack/plan.h"

namespace {

using subbyte::check_buffers;
using subbyte::check_pointer;
using subbyte::unpack::Plan;

int make_plan(const subbyte_unpack *layer, Plan *plan) {
  return subbyte::unpack::make_plan(layer, subbyte::int8::active_level(), plan);
}

}  // namespace

int64_t subbyte_unpack_out_height(const subbyte_unpack *layer) {
  Plan plan;
  return make_plan(layer, &plan) == SUBBYTE_OK ? plan.out_height : 0;
}

int64_t subbyte_unpack_out_width(const subbyte_unpack *layer) {
  Plan plan;
  return make_plan(layer, &plan) == SUBBYTE_OK ? plan.out_width : 0;
}

size_t subbyte_unpack_packed_size(const subbyte_unpack *layer) {
  Plan plan;
  return make_plan(layer, &plan) == SUBBYTE_OK ? plan.packed_size : 0;
}

size_t subbyte_unpack_scratch_size(const subbyte_unpack *layer) {
  Plan plan;
  return make_plan(layer, &plan) == SUBBYTE_OK ? plan.scratch_size : 0;
}

int subbyte_unpack_pack(const subbyte_unpack *layer, const uint8_t *codes, const int8_t *levels,
                        void *packed) {
  Plan plan;
  int status = make_plan(layer, &plan);
  if (status == SUBBYTE_OK) status = check_pointer("codes", codes);
  if (status == SUBBYTE_OK) status = check_pointer("levels", levels);
  if (status == SUBBYTE_OK) status = check_pointer("packed", packed, SUBBYTE_ALIGNMENT);
  if (status != SUBBYTE_OK) return status;
  return subbyte::unpack::pack(*layer, plan, codes, levels, packed);
}

int subbyte_unpack_run(const subbyte_unpack *layer, const void *packed, const uint8_t *x,
                       const subbyte_output *output, void *y, int64_t row_begin,
                       int64_t row_end, void *scratch) {
  Plan plan;
  int status = make_plan(layer, &plan);
  if (status == SUBBYTE_OK) status = check_pointer("x", x);
  if (status == SUBBYTE_OK) status = check_buffers(packed, output, y, scratch);
  if (status != SUBBYTE_OK) return status;
  return subbyte::unpack::run(*layer, plan, packed, x, output, y, row_begin, row_end, scratch);
}
