#include "c_interface.h"

#include "gemv/plan.h"

namespace {

namespace c_interface = subbyte::c_interface;
using Plan = subbyte::gemv::Plan;

// The plan of a layer and the weights packed for it.
template <typename Layer>
int open(const Layer *layer, const void *packed, const void *scratch, Plan *plan) {
  int status = c_interface::plan_of(layer, plan);
  if (status == SUBBYTE_OK) {
    status = c_interface::check_pointers(
        {{"packed", packed, SUBBYTE_ALIGNMENT}, {"scratch", scratch, SUBBYTE_ALIGNMENT}});
  }
  if (status != SUBBYTE_OK) return status;
  return subbyte::check_header(packed, header_of(*layer, *plan->level));
}

template <typename Layer>
int run_outputs(const Layer *layer, const void *packed, const void *scratch,
                const subbyte_output *output, void *y, int64_t output_begin, int64_t output_end) {
  Plan plan;
  int status = open(layer, packed, scratch, &plan);
  if (status == SUBBYTE_OK) {
    status = c_interface::check_pointers({{"output", output}, {"y", y}});
  }
  if (status != SUBBYTE_OK) return status;
  return run(plan, packed, scratch, output, y, output_begin, output_end);
}

}  // namespace

int64_t subbyte_gemv_block(void) { return subbyte::gemv::kTile; }

size_t subbyte_gemv_lut16_packed_size(const subbyte_gemv_lut16 *layer) {
  return c_interface::packed_size<Plan>(layer);
}

size_t subbyte_gemv_lut16_scratch_size(const subbyte_gemv_lut16 *layer) {
  return c_interface::scratch_size<Plan>(layer);
}

int subbyte_gemv_lut16_pack(const subbyte_gemv_lut16 *layer, const uint8_t *codes,
                            const uint8_t *gain_codes, const int8_t *gains, const int8_t *codebook,
                            void *packed) {
  return c_interface::pack_words<Plan>(layer, codes, gain_codes, gains, codebook, packed);
}

int subbyte_gemv_lut16_prepare(const subbyte_gemv_lut16 *layer, const void *packed,
                               const uint8_t *x, void *scratch) {
  Plan plan;
  int status = open(layer, packed, scratch, &plan);
  if (status == SUBBYTE_OK) status = subbyte::check_pointer("x", x);
  if (status == SUBBYTE_OK) build_tables(*layer, plan, packed, x, scratch);
  return status;
}

int subbyte_gemv_lut16_run(const subbyte_gemv_lut16 *layer, const void *packed, const void *scratch,
                           const subbyte_output *output, void *y, int64_t output_begin,
                           int64_t output_end) {
  return run_outputs(layer, packed, scratch, output, y, output_begin, output_end);
}

size_t subbyte_gemv_int4_packed_size(const subbyte_gemv_int4 *layer) {
  return c_interface::packed_size<Plan>(layer);
}

size_t subbyte_gemv_int4_scratch_size(const subbyte_gemv_int4 *layer) {
  return c_interface::scratch_size<Plan>(layer);
}

int subbyte_gemv_int4_pack(const subbyte_gemv_int4 *layer, const uint8_t *codes,
                           const int8_t *levels, void *packed) {
  return c_interface::pack_levels<Plan>(layer, codes, levels, packed);
}

int subbyte_gemv_int4_prepare(const subbyte_gemv_int4 *layer, const void *packed, const uint8_t *x,
                              void *scratch) {
  Plan plan;
  int status = open(layer, packed, scratch, &plan);
  if (status == SUBBYTE_OK) status = subbyte::check_pointer("x", x);
  if (status == SUBBYTE_OK) stage_inputs(plan, x, scratch);
  return status;
}

int subbyte_gemv_int4_run(const subbyte_gemv_int4 *layer, const void *packed, const void *scratch,
                          const subbyte_output *output, void *y, int64_t output_begin,
                          int64_t output_end) {
  return run_outputs(layer, packed, scratch, output, y, output_begin, output_end);
}
