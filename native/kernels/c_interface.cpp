#include <cstdint>

#include "error.h"
#include "lookup/plan.h"
#include "lookup/select.h"
#include "output.h"
#include "subbyte/subbyte.h"

namespace {

using subbyte::check_buffers;
using subbyte::check_pointer;
using subbyte::lookup::Plan;

int make_plan(const subbyte_lookup *layer, Plan *plan) {
  return subbyte::lookup::make_plan(layer, subbyte::lookup::active_level(), plan);
}

}  // namespace

const char *subbyte_isa(void) {
  const auto *active = subbyte::lookup::active_level();
  return active == nullptr ? nullptr : active->name;
}

const char *subbyte_error(void) { return subbyte::last_error(); }

int64_t subbyte_lookup_out_height(const subbyte_lookup *layer) {
  Plan plan;
  return make_plan(layer, &plan) == SUBBYTE_OK ? plan.out_height : 0;
}

int64_t subbyte_lookup_out_width(const subbyte_lookup *layer) {
  Plan plan;
  return make_plan(layer, &plan) == SUBBYTE_OK ? plan.out_width : 0;
}

size_t subbyte_lookup_packed_size(const subbyte_lookup *layer) {
  Plan plan;
  return make_plan(layer, &plan) == SUBBYTE_OK ? plan.packed_size : 0;
}

size_t subbyte_lookup_scratch_size(const subbyte_lookup *layer) {
  Plan plan;
  return make_plan(layer, &plan) == SUBBYTE_OK ? plan.scratch_size : 0;
}

int subbyte_lookup_pack(const subbyte_lookup *layer, const uint8_t *codes,
                        const uint8_t *gain_codes, const int8_t *gains, const int8_t *codebook,
                        void *packed) {
  Plan plan;
  int status = make_plan(layer, &plan);
  if (status == SUBBYTE_OK) status = check_pointer("codes", codes);
  if (status == SUBBYTE_OK && plan.gain) status = check_pointer("gain_codes", gain_codes);
  if (status == SUBBYTE_OK && plan.gain) status = check_pointer("gains", gains);
  if (status == SUBBYTE_OK) status = check_pointer("codebook", codebook);
  if (status == SUBBYTE_OK) status = check_pointer("packed", packed, SUBBYTE_ALIGNMENT);
  if (status != SUBBYTE_OK) return status;
  return subbyte::lookup::pack(*layer, plan, codes, gain_codes, gains, codebook, packed);
}

int subbyte_lookup_run(const subbyte_lookup *layer, const void *packed, const uint8_t *x,
                       const subbyte_output *output, void *y, int64_t row_begin, int64_t row_end,
                       void *scratch) {
  Plan plan;
  int status = make_plan(layer, &plan);
  if (status == SUBBYTE_OK) status = check_pointer("x", x);
  if (status == SUBBYTE_OK) status = check_buffers(packed, output, y, scratch);
  if (status != SUBBYTE_OK) return status;
  return subbyte::lookup::run(*layer, plan, packed, x, output, y, row_begin, row_end, scratch);
}
