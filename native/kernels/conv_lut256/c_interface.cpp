#include "c_interface.h"

#include "conv_lut256/plan.h"

namespace c_interface = subbyte::c_interface;
using Plan = subbyte::conv_lut256::Plan;

size_t subbyte_conv_lut256_packed_size(const subbyte_conv_lut256 *layer) {
  return c_interface::packed_size<Plan>(layer);
}

size_t subbyte_conv_lut256_scratch_size(const subbyte_conv_lut256 *layer) {
  return c_interface::scratch_size<Plan>(layer);
}

int subbyte_conv_lut256_pack(const subbyte_conv_lut256 *layer, const uint8_t *codes,
                             const uint8_t *gain_codes, const int8_t *gains, const int8_t *codebook,
                             void *packed) {
  return c_interface::pack_words<Plan>(layer, codes, gain_codes, gains, codebook, packed);
}

int subbyte_conv_lut256_run(const subbyte_conv_lut256 *layer, const void *packed, const uint8_t *x,
                            const subbyte_output *output, void *y, int64_t row_begin,
                            int64_t row_end, void *scratch) {
  return c_interface::run_rows<Plan>(layer, packed, x, output, y, row_begin, row_end, scratch);
}

int subbyte_conv_lut256_prepare(const subbyte_conv_lut256 *layer, const void *packed,
                                const uint8_t *x, void *scratch) {
  Plan plan;
  int status = c_interface::plan_of(layer, &plan);
  if (status == SUBBYTE_OK) {
    status = c_interface::check_pointers(
        {{"packed", packed, SUBBYTE_ALIGNMENT}, {"x", x}, {"scratch", scratch, SUBBYTE_ALIGNMENT}});
  }
  return status == SUBBYTE_OK ? prepare(*layer, plan, packed, x, scratch) : status;
}

int subbyte_conv_lut256_run_outputs(const subbyte_conv_lut256 *layer, const void *packed,
                                    const void *scratch, const subbyte_output *output, void *y,
                                    int64_t output_begin, int64_t output_end) {
  Plan plan;
  int status = c_interface::plan_of(layer, &plan);
  if (status == SUBBYTE_OK) status = subbyte::check_buffers(packed, output, y, scratch);
  if (status != SUBBYTE_OK) return status;
  return run_outputs(*layer, plan, packed, scratch, output, y, output_begin, output_end);
}
