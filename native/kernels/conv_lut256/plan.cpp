#include "conv_lut256/plan.h"

#include <algorithm>

#include "codebook.h"
#include "error.h"

namespace subbyte::conv_lut256 {
namespace {

// Half of a common L2 cache: the other half is for the codes.
constexpr int64_t kBandBytes = 256 << 10;

int check_fields(const subbyte_conv_lut256 &l) {
  const Field fields[] = {
      {"word_length", l.word_length, 1, 16}, {"shared", l.shared, 0, 1},
      {"gain_levels", l.gain_levels, 0, 256}, {"input_zero", l.input_zero, 0, 255},
      {"shift", l.shift, 0, 8},
  };
  for (const Field &field : fields) {
    const int status = check_field(field);
    if (status != SUBBYTE_OK) return status;
  }
  for (int words = 32; words <= kMaxWords; words *= 2) {
    if (l.words == words) return SUBBYTE_OK;
  }
  return fail(SUBBYTE_BAD_SHAPE, "words: expected 32, 64, 128 or 256, got %d", l.words);
}

int set_sizes(const subbyte_conv_lut256 &l, Plan *p) {
  const subbyte_geometry &g = l.geometry;
  p->gain = l.gain_levels > 0;
  p->words = l.words;
  p->word_length = static_cast<int>(l.word_length);
  p->chunks = static_cast<int>(ceil_div(l.word_length, p->level->chunk));
  p->taps = g.kernel[0] * g.kernel[1];
  p->kernel_width = g.kernel[1];
  p->channels = g.inputs / g.groups;
  p->outputs = g.outputs / g.groups;
  p->channel_groups = ceil_div(p->channels, l.word_length);
  p->vectors = ceil_div(p->channel_groups, kVectorGroups);
  p->steps = p->taps * p->vectors;
  p->cells = ceil_div(p->outputs, p->level->lanes);
  p->cell_bytes = kVectorGroups * p->level->lanes;
  const int64_t padded = p->vectors * kVectorGroups;
  p->read = (padded - 1) * l.word_length + p->chunks * p->level->chunk;
  const int status = check_code_count(p->taps, padded);
  if (status != SUBBYTE_OK) return status;
  if (!fits(g.groups, p->cells, p->steps * p->cell_bytes) ||
      !fits(g.groups, padded, p->chunks * p->level->chunk * p->words)) {
    return too_large("weights");
  }
  return SUBBYTE_OK;
}

void set_packed(const subbyte_conv_lut256 &l, Plan *p) {
  const subbyte_geometry &g = l.geometry;
  const int64_t all_words = p->vectors * kVectorGroups * p->words;
  p->codebook = aligned(sizeof(Header));
  p->codebook_step = static_cast<size_t>(all_words * p->chunks * p->level->chunk);
  p->start = p->codebook + aligned(g.groups * static_cast<int64_t>(p->codebook_step));
  p->start_step = static_cast<size_t>(all_words) * sizeof(int16_t);
  p->sums = p->start + aligned(g.groups * static_cast<int64_t>(p->start_step));
  p->sums_step = static_cast<size_t>(p->cells * p->level->lanes) * sizeof(int32_t);
  p->codes = p->sums + aligned(g.groups * static_cast<int64_t>(p->sums_step));
  p->codes_step = static_cast<size_t>(p->cells * p->steps * p->cell_bytes);
  const size_t all_codes = static_cast<size_t>(g.groups) * p->codes_step;
  p->gains = p->codes + (p->gain ? all_codes : 0);
  p->packed_size = p->gains + all_codes;
}

int set_scratch(Plan *p) {
  p->table_bytes = kVectorGroups * p->words;
  // Tables of neighbours a power of two apart would share their places in the nearest cache.
  const int64_t apart = p->vectors % 4 == 0 ? p->vectors + 1 : p->vectors;
  if (!fits(p->padded_columns, apart, p->table_bytes)) return too_large("a row of tables");
  p->pixel_bytes = static_cast<ptrdiff_t>(apart * p->table_bytes);
  p->row_bytes = static_cast<ptrdiff_t>(p->padded_columns) * p->pixel_bytes;
  // Rows that several output rows need are held in a ring; of others, as many as fit, and
  // those of one tile.
  p->ring = p->reach > p->stride[0];
  const int64_t fitting = kBandBytes / (p->stride[0] * p->row_bytes);
  const int64_t held = std::max(fitting, ceil_div(kMaxPixels, p->out_width));
  p->band = p->ring ? 1 : std::min(held, p->out_height);
  const int64_t table_rows = (p->band - 1) * p->stride[0] + p->reach;
  if (!fits(table_rows, p->row_bytes)) return too_large("a band of tables");
  p->offsets = 0;
  p->staging = aligned(p->steps * static_cast<int64_t>(sizeof(ptrdiff_t)));
  p->tables = p->staging + aligned(p->read);
  p->scratch_size = p->tables + static_cast<size_t>(table_rows * p->row_bytes);
  return SUBBYTE_OK;
}

}  // namespace

int64_t step_of(const Plan &plan, int64_t tap, int64_t vector) {
  const int64_t row = tap / plan.kernel_width, column = tap % plan.kernel_width;
  return (row * plan.vectors + vector) * plan.kernel_width + column;
}

int make_plan(const subbyte_conv_lut256 *layer, const Level *level, Plan *plan) {
  if (level == nullptr) return SUBBYTE_BAD_ISA;
  if (layer == nullptr) return fail(SUBBYTE_BAD_BUFFER, "layer: expected a pointer, got null");
  *plan = Plan{};
  plan->level = level;
  int status = check_geometry(layer->geometry);
  if (status == SUBBYTE_OK) status = check_fields(*layer);
  if (status == SUBBYTE_OK) status = set_sizes(*layer, plan);
  if (status == SUBBYTE_OK) status = make_walk(layer->geometry, plan);
  if (status != SUBBYTE_OK) return status;
  set_packed(*layer, plan);
  return set_scratch(plan);
}

Header header_of(const subbyte_conv_lut256 &l, const Level &level) {
  const subbyte_geometry &g = l.geometry;
  return make_header(
      level.name, {g.inputs, g.outputs, g.groups, g.kernel[0], g.kernel[1], l.word_length, l.words,
                   l.shared, l.gain_levels, l.input_zero, l.shift, int64_t{0x57524453}});
}

}  // namespace subbyte::conv_lut256
