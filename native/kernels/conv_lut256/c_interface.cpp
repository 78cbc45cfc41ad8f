#include "output.h"
#include "conv_lut256/plan.h"

namespace {

using subbyte::check_buffers;
using subbyte::check_pointer;
using subbyte::conv_lut256::Plan;

int make_plan(const subbyte_conv_lut256 *layer, Plan *plan) {
  return subbyte::conv_lut256::make_plan(layer, subbyte::conv_lut256::kLevels.active(), plan);
}

}  // namespace

int64_t subbyte_conv_lut256_out_height(const subbyte_conv_lut256 *layer) {
  Plan plan;
  return make_plan(layer, &plan) == SUBBYTE_OK ? plan.out_height : 0;
}

int64_t subbyte_conv_lut256_out_width(const subbyte_conv_lut256 *layer) {
  Plan plan;
  return make_plan(layer, &plan) == SUBBYTE_OK ? plan.out_width : 0;
}

size_t subbyte_conv_lut256_packed_size(const subbyte_conv_lut256 *layer) {
  Plan plan;
  return make_plan(layer, &plan) == SUBBYTE_OK ? plan.packed_size : 0;
}

size_t subbyte_conv_lut256_scratch_size(const subbyte_conv_lut256 *layer) {
  Plan plan;
  return make_plan(layer, &plan) == SUBBYTE_OK ? plan.scratch_size : 0;
}

int subbyte_conv_lut256_pack(const subbyte_conv_lut256 *layer, const uint8_t *codes,
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
  return subbyte::conv_lut256::pack(*layer, plan, codes, gain_codes, gains, codebook, packed);
}

int subbyte_conv_lut256_run(const subbyte_conv_lut256 *layer, const void *packed, const uint8_t *x,
                            const subbyte_output *output, void *y, int64_t row_begin,
                            int64_t row_end, void *scratch) {
  Plan plan;
  int status = make_plan(layer, &plan);
  if (status == SUBBYTE_OK) status = check_pointer("x", x);
  if (status == SUBBYTE_OK) status = check_buffers(packed, output, y, scratch);
  if (status != SUBBYTE_OK) return status;
  return subbyte::conv_lut256::run(*layer, plan, packed, x, output, y, row_begin, row_end, scratch);
}

int subbyte_conv_lut256_prepare(const subbyte_conv_lut256 *layer, const void *packed,
                                const uint8_t *x, void *scratch) {
  Plan plan;
  int status = make_plan(layer, &plan);
  if (status == SUBBYTE_OK) status = check_pointer("packed", packed, SUBBYTE_ALIGNMENT);
  if (status == SUBBYTE_OK) status = check_pointer("x", x);
  if (status == SUBBYTE_OK) status = check_pointer("scratch", scratch, SUBBYTE_ALIGNMENT);
  if (status != SUBBYTE_OK) return status;
  return subbyte::conv_lut256::prepare(*layer, plan, packed, x, scratch);
}

int subbyte_conv_lut256_run_outputs(const subbyte_conv_lut256 *layer, const void *packed,
                                    const void *scratch, const subbyte_output *output, void *y,
                                    int64_t output_begin, int64_t output_end) {
  Plan plan;
  int status = make_plan(layer, &plan);
  if (status == SUBBYTE_OK) status = check_buffers(packed, output, y, scratch);
  if (status != SUBBYTE_OK) return status;
  return subbyte::conv_lut256::run_outputs(*layer, plan, packed, scratch, output, y, output_begin,
                                           output_end);
}
