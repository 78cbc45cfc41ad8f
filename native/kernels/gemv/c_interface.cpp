#include "gemv/plan.h"
#include "output.h"

namespace {

using subbyte::check_pointer;
using subbyte::gemv::Plan;

template <typename Layer>
int make_plan(const Layer *layer, Plan *plan) {
  return subbyte::gemv::make_plan(layer, subbyte::gemv::kLevels.active(), plan);
}

// The plan of a layer and the weights packed for it.
template <typename Layer>
int open(const Layer *layer, const void *packed, const void *scratch, Plan *plan) {
  int status = make_plan(layer, plan);
  if (status == SUBBYTE_OK) status = check_pointer("packed", packed, SUBBYTE_ALIGNMENT);
  if (status == SUBBYTE_OK) status = check_pointer("scratch", scratch, SUBBYTE_ALIGNMENT);
  if (status != SUBBYTE_OK) return status;
  const auto header = subbyte::gemv::header_of(*layer, *plan->level);
  return subbyte::check_header(packed, &header, sizeof header, plan->level->name);
}

template <typename Layer>
int run(const Layer *layer, const void *packed, const void *scratch,
        const subbyte_output *output, void *y, int64_t output_begin, int64_t output_end) {
  Plan plan;
  int status = open(layer, packed, scratch, &plan);
  if (status == SUBBYTE_OK) status = check_pointer("output", output);
  if (status == SUBBYTE_OK) status = check_pointer("y", y);
  if (status != SUBBYTE_OK) return status;
  return subbyte::gemv::run(plan, packed, scratch, output, y, output_begin, output_end);
}

}  // namespace

int64_t subbyte_gemv_block(void) { return subbyte::gemv::kTile; }

size_t subbyte_gemv_lut16_packed_size(const subbyte_gemv_lut16 *layer) {
  Plan plan;
  return make_plan(layer, &plan) == SUBBYTE_OK ? plan.packed_size : 0;
}

size_t subbyte_gemv_int4_packed_size(const subbyte_gemv_int4 *layer) {
  Plan plan;
  return make_plan(layer, &plan) == SUBBYTE_OK ? plan.packed_size : 0;
}

int subbyte_gemv_lut16_pack(const subbyte_gemv_lut16 *layer, const uint8_t *codes,
                            const uint8_t *gain_codes, const int8_t *gains, const int8_t *codebook,
                            void *packed) {
  Plan plan;
  int status = make_plan(layer, &plan);
  if (status == SUBBYTE_OK) status = check_pointer("codes", codes);
  if (status == SUBBYTE_OK && plan.bits > 0) status = check_pointer("gain_codes", gain_codes);
  if (status == SUBBYTE_OK && plan.bits > 0) status = check_pointer("gains", gains);
  if (status == SUBBYTE_OK) status = check_pointer("codebook", codebook);
  if (status == SUBBYTE_OK) status = check_pointer("packed", packed, SUBBYTE_ALIGNMENT);
  if (status != SUBBYTE_OK) return status;
  return subbyte::gemv::pack(*layer, plan, codes, gain_codes, gains, codebook, packed);
}

int subbyte_gemv_int4_pack(const subbyte_gemv_int4 *layer, const uint8_t *codes,
                           const int8_t *levels, void *packed) {
  Plan plan;
  int status = make_plan(layer, &plan);
  if (status == SUBBYTE_OK) status = check_pointer("codes", codes);
  if (status == SUBBYTE_OK) status = check_pointer("levels", levels);
  if (status == SUBBYTE_OK) status = check_pointer("packed", packed, SUBBYTE_ALIGNMENT);
  if (status != SUBBYTE_OK) return status;
  return subbyte::gemv::pack(*layer, plan, codes, levels, packed);
}

size_t subbyte_gemv_lut16_scratch_size(const subbyte_gemv_lut16 *layer) {
  Plan plan;
  return make_plan(layer, &plan) == SUBBYTE_OK ? plan.scratch_size : 0;
}

size_t subbyte_gemv_int4_scratch_size(const subbyte_gemv_int4 *layer) {
  Plan plan;
  return make_plan(layer, &plan) == SUBBYTE_OK ? plan.scratch_size : 0;
}

int subbyte_gemv_lut16_prepare(const subbyte_gemv_lut16 *layer, const void *packed,
                               const uint8_t *x, void *scratch) {
  Plan plan;
  int status = open(layer, packed, scratch, &plan);
  if (status == SUBBYTE_OK) status = check_pointer("x", x);
  if (status == SUBBYTE_OK) subbyte::gemv::build_tables(*layer, plan, packed, x, scratch);
  return status;
}

int subbyte_gemv_int4_prepare(const subbyte_gemv_int4 *layer, const void *packed, const uint8_t *x,
                              void *scratch) {
  Plan plan;
  int status = open(layer, packed, scratch, &plan);
  if (status == SUBBYTE_OK) status = check_pointer("x", x);
  if (status == SUBBYTE_OK) subbyte::gemv::stage_inputs(plan, x, scratch);
  return status;
}

int subbyte_gemv_lut16_run(const subbyte_gemv_lut16 *layer, const void *packed, const void *scratch,
                           const subbyte_output *output, void *y, int64_t output_begin,
                           int64_t output_end) {
  return run(layer, packed, scratch, output, y, output_begin, output_end);
}

int subbyte_gemv_int4_run(const subbyte_gemv_int4 *layer, const void *packed, const void *scratch,
                          const subbyte_output *output, void *y, int64_t output_begin,
                          int64_t output_end) {
  return run(layer, packed, scratch, output, y, output_begin, output_end);
}
