#include "conv_lut16/plan.h"
#include "output.h"

namespace {

using subbyte::check_buffers;
using subbyte::check_pointer;
using subbyte::conv_lut16::Plan;

int make_plan(const subbyte_conv_lut16 *layer, Plan *plan) {
  return subbyte::conv_lut16::make_plan(layer, subbyte::conv_lut16::kLevels.active(), plan);
}

}  // namespace

int64_t subbyte_conv_lut16_out_height(const subbyte_conv_lut16 *layer) {
  Plan plan;
  return make_plan(layer, &plan) == SUBBYTE_OK ? plan.out_height : 0;
}

int64_t subbyte_conv_lut16_out_width(const subbyte_conv_lut16 *layer) {
  Plan plan;
  return make_plan(layer, &plan) == SUBBYTE_OK ? plan.out_width : 0;
}

size_t subbyte_conv_lut16_packed_size(const subbyte_conv_lut16 *layer) {
  Plan plan;
  return make_plan(layer, &plan) == SUBBYTE_OK ? plan.packed_size : 0;
}

size_t subbyte_conv_lut16_scratch_size(const subbyte_conv_lut16 *layer) {
  Plan plan;
  return make_plan(layer, &plan) == SUBBYTE_OK ? plan.scratch_size : 0;
}

int subbyte_conv_lut16_pack(const subbyte_conv_lut16 *layer, const uint8_t *codes,
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
  return subbyte::conv_lut16::pack(*layer, plan, codes, gain_codes, gains, codebook, packed);
}

int subbyte_conv_lut16_run(const subbyte_conv_lut16 *layer, const void *packed, const uint8_t *x,
                           const subbyte_output *output, void *y, int64_t row_begin,
                           int64_t row_end, void *scratch) {
  Plan plan;
  int status = make_plan(layer, &plan);
  if (status == SUBBYTE_OK) status = check_pointer("x", x);
  if (status == SUBBYTE_OK) status = check_buffers(packed, output, y, scratch);
  if (status != SUBBYTE_OK) return status;
  return subbyte::conv_lut16::run(*layer, plan, packed, x, output, y, row_begin, row_end, scratch);
}
