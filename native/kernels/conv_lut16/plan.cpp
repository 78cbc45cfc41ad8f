#include "conv_lut16/plan.h"

#include <algorithm>

#include "codebook.h"
#include "error.h"
#include "geometry.h"

namespace subbyte::conv_lut16 {
namespace {

// Half of a common L2 cache: the other half is for the codes.
constexpr int64_t kBandBytes = 256 << 10;

int check_fields(const subbyte_conv_lut16 &l) {
  const Field fields[] = {
      {"word_length", l.word_length, 1, 16}, {"shared", l.shared, 0, 1},
      {"gain_levels", l.gain_levels, 0, 256}, {"input_zero", l.input_zero, 0, 255},
      {"shift", l.shift, 0, 8},
  };
  for (const Field &field : fields) {
    const int status = check_field(field);
    if (status != SUBBYTE_OK) return status;
  }
  return SUBBYTE_OK;
}

int set_weights(const subbyte_conv_lut16 &l, Plan *p) {
  const subbyte_geometry &g = l.geometry;
  p->gain = l.gain_levels > 0;
  p->taps = g.kernel[0] * g.kernel[1];
  p->channels = g.inputs / g.groups;
  p->outputs = g.outputs / g.groups;
  p->word_length = static_cast<int>(l.word_length);
  p->chunks = static_cast<int>(ceil_div(l.word_length, p->level->chunk));
  p->words = ceil_div(p->channels, l.word_length);
  p->vectors = ceil_div(p->words, kVectorGroups);
  p->lane_blocks = ceil_div(p->outputs, kLanes);
  const int64_t padded = p->vectors * kVectorGroups;
  p->read = (padded - 1) * l.word_length + p->chunks * p->level->chunk;
  const int status = check_code_count(p->taps, padded);
  if (status != SUBBYTE_OK) return status;
  if (!fits(g.groups, p->lane_blocks, p->taps * p->vectors * kVectorBytes)) {
    return too_large("weights");
  }
  p->codebook = aligned(sizeof(Header));
  p->codebook_step = static_cast<size_t>(padded * p->chunks * kWords * p->level->chunk);
  p->start = p->codebook + aligned(g.groups * static_cast<int64_t>(p->codebook_step));
  p->start_step = static_cast<size_t>(padded * kWords) * sizeof(int16_t);
  p->sums = p->start + aligned(g.groups * static_cast<int64_t>(p->start_step));
  p->sums_step = static_cast<size_t>(p->lane_blocks * kLanes) * sizeof(int32_t);
  p->gain_unit = p->sums + aligned(g.groups * static_cast<int64_t>(p->sums_step));
  p->codes = p->gain_unit + aligned(sizeof(int32_t));
  p->codes_step = static_cast<size_t>(p->lane_blocks * p->taps * p->vectors * kVectorBytes);
  const size_t all_codes = static_cast<size_t>(g.groups) * p->codes_step;
  p->gains = p->codes + (p->gain ? all_codes : 0);
  p->packed_size = p->gains + all_codes;
  return SUBBYTE_OK;
}

int set_scratch(Plan *p) {
  p->pixel_bytes = static_cast<ptrdiff_t>(p->vectors * kVectorBytes);
  if (!fits(p->padded_columns, p->pixel_bytes)) return too_large("a row of tables");
  p->row_bytes = static_cast<ptrdiff_t>(p->padded_columns) * p->pixel_bytes;
  const int64_t held = kBandBytes / p->row_bytes;
  p->band = held <= p->reach ? 1 : (held - p->reach) / p->stride[0] + 1;
  p->band = std::min(p->band, p->out_height);
  const int64_t table_rows = (p->band - 1) * p->stride[0] + p->reach;
  if (!fits(table_rows, p->row_bytes)) return too_large("a band of tables");
  p->tap_offsets = 0;
  p->staging = aligned(p->taps * static_cast<int64_t>(sizeof(ptrdiff_t)));
  p->acc = p->staging + aligned(p->read);
  p->tables = p->acc + aligned(kMaxPixels * kMaxBlocks * kLanes * 4);
  p->scratch_size = p->tables + static_cast<size_t>(table_rows * p->row_bytes);
  return SUBBYTE_OK;
}

}  // namespace

int make_plan(const subbyte_conv_lut16 *layer, const Level *level, Plan *plan) {
  if (level == nullptr) return SUBBYTE_BAD_ISA;
  if (layer == nullptr) return fail(SUBBYTE_BAD_BUFFER, "layer: expected a pointer, got null");
  *plan = Plan{};
  plan->level = level;
  int status = check_geometry(layer->geometry);
  if (status == SUBBYTE_OK) status = check_fields(*layer);
  if (status == SUBBYTE_OK) status = set_weights(*layer, plan);
  if (status == SUBBYTE_OK) status = make_walk(layer->geometry, plan);
  if (status == SUBBYTE_OK) status = set_scratch(plan);
  return status;
}

Header header_of(const subbyte_conv_lut16 &l, const Level &level) {
  const subbyte_geometry &g = l.geometry;
  return make_header(
      level.name, {g.inputs, g.outputs, g.groups, g.kernel[0], g.kernel[1], l.word_length, l.shared,
                   l.gain_levels, l.input_zero, l.shift, int64_t{0x53554259}});
}

}  // namespace subbyte::conv_lut16
