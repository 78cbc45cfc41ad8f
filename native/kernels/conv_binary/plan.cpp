#include "conv_binary/plan.h"

#include <algorithm>
#include <cmath>

#include "error.h"

namespace subbyte::conv_binary {
namespace {

// Half of a common L2 cache: the other half is for the weights.
constexpr int64_t kBandBytes = 256 << 10;
// Integers up to here are exact in float32.
constexpr int64_t kMostProducts = 1 << 24;

int check_fields(const subbyte_conv_binary &l) {
  const Field fields[] = {
      {"order", l.order, 1, kMaxOrder},
      {"scales", l.scales, SUBBYTE_PER_COLUMN, SUBBYTE_PER_IMAGE},
      {"input_type", l.input_type, SUBBYTE_UINT8, SUBBYTE_FLOAT},
  };
  for (const Field &field : fields) {
    const int status = check_field(field);
    if (status != SUBBYTE_OK) return status;
  }
  if (l.input_type == SUBBYTE_FLOAT) return SUBBYTE_OK;
  if (!(l.input_scale > 0) || !std::isfinite(l.input_scale)) {
    return fail(SUBBYTE_BAD_SHAPE, "input_scale: expected a positive number, got %g",
                static_cast<double>(l.input_scale));
  }
  return check_field({"input_zero", l.input_zero, 0, 255});
}

int set_weights(const subbyte_conv_binary &l, Plan *p) {
  const subbyte_geometry &g = l.geometry;
  const Level &level = *p->level;
  p->order = l.order;
  p->own_signs = l.scales == SUBBYTE_PER_COLUMN && l.order > 1;
  p->bytes = l.input_type == SUBBYTE_UINT8 && g.inputs / g.groups <= kByteChannels &&
             (l.order == 1 || (p->own_signs && l.order == 2));
  p->taps = g.kernel[0] * g.kernel[1];
  p->channels = g.inputs / g.groups;
  p->outputs = g.outputs / g.groups;
  if (p->taps > kMostProducts / p->channels) {
    return fail(SUBBYTE_BAD_SHAPE, "products of a sum: expected at most %lld, got %lld * %lld",
                static_cast<long long>(kMostProducts), static_cast<long long>(p->taps),
                static_cast<long long>(p->channels));
  }
  p->words = ceil_div(p->channels, kWord);
  p->steps = p->taps * p->words;
  p->lane_blocks = ceil_div(p->outputs, level.lanes);
  const int64_t bytes = p->steps * level.block_bytes;
  if (!fits(g.groups, p->lane_blocks, bytes)) return too_large("weights");
  p->weights = aligned(sizeof(Header));
  p->weights_step = aligned(p->lane_blocks * bytes);
  if (!fits(g.groups, static_cast<int64_t>(p->weights_step))) return too_large("weights");
  p->packed_size = p->weights + static_cast<size_t>(g.groups) * p->weights_step;
  return SUBBYTE_OK;
}

int set_rows(Plan *p) {
  const int64_t word_bytes = p->level->word_bytes;
  p->depth = ceil_div(p->channels, kPartials) * kPartials;
  p->planes = p->own_signs ? 1 : p->order;
  p->tap_bytes = static_cast<ptrdiff_t>(p->words * word_bytes);
  p->order_bytes = p->own_signs ? static_cast<ptrdiff_t>(p->taps) * p->tap_bytes : p->tap_bytes;
  p->vector_bytes = p->order * p->order_bytes;
  const auto value_bytes = static_cast<ptrdiff_t>(p->depth) * ptrdiff_t{sizeof(float)};
  const auto byte_bytes = static_cast<ptrdiff_t>(aligned(p->words * kWord + p->tap_bytes));
  p->pixel_bytes = !p->own_signs ? p->vector_bytes : p->bytes ? byte_bytes : value_bytes;
  if (!fits(p->padded_columns, std::max(p->pixel_bytes, value_bytes)) ||
      !fits(p->padded_columns, 4 * p->planes)) {
    return too_large("a row of x");
  }
  p->row_bytes = static_cast<ptrdiff_t>(aligned(p->padded_columns * p->pixel_bytes));
  p->sums_row = p->planes * p->padded_columns;
  return SUBBYTE_OK;
}

// Output rows whose x, and whose signs if they have their own, stay in the cache.
int set_band(Plan *p) {
  const int64_t own = p->own_signs ? p->out_width * p->vector_bytes : 0;
  if (p->own_signs && !fits(p->out_width, p->vector_bytes)) return too_large("a row of signs");
  const int64_t each = p->stride[0] > kMostBytes / p->row_bytes
                           ? kMostBytes
                           : p->stride[0] * p->row_bytes + own;
  const int64_t least = p->reach > kBandBytes / p->row_bytes ? kBandBytes
                                                             : p->reach * p->row_bytes + own;
  p->band = 1 + std::max<int64_t>(0, kBandBytes - least) / each;
  p->band = std::min(p->band, p->out_height);
  return SUBBYTE_OK;
}

int set_scratch(Plan *p) {
  const int64_t rows = (p->band - 1) * p->stride[0] + p->reach;
  if (!fits(rows, p->row_bytes) || !fits(rows, p->sums_row, 4)) return too_large("a band of x");
  p->positions = p->band * p->out_width;
  if (!fits(p->positions, p->own_signs ? p->vector_bytes : 4 * p->order) ||
      !fits(p->positions, 4 * p->order)) {
    return too_large("a band of signs");
  }
  const int64_t vector = (p->own_signs ? p->taps : 1) * p->depth;
  const struct {
    size_t *at;
    int64_t bytes;
  } parts[] = {
      {&p->steps_at, p->steps * int64_t{sizeof(ptrdiff_t)}},
      {&p->taps_at, p->taps * int64_t{sizeof(ptrdiff_t)}},
      {&p->betas, kMaxOrder * 4},
      {&p->sums, kMaxRows * kOutputs * 4},
      {&p->residual, vector * 4},
      {&p->values, p->own_signs ? 0 : p->padded_columns * p->depth * 4},
      {&p->held_sums, rows * p->sums_row * 4},
      {&p->scales, p->positions * p->order * 4},
      {&p->counts, p->own_signs && p->bytes ? 2 * p->out_width * int64_t{sizeof(int64_t)} : 0},
      {&p->held, rows * p->row_bytes},
      {&p->signs, p->own_signs ? p->positions * p->vector_bytes : 0},
  };
  for (const auto &part : parts) {
    *part.at = p->scratch_size;
    p->scratch_size += aligned(part.bytes);
  }
  return SUBBYTE_OK;
}

}  // namespace

int make_plan(const subbyte_conv_binary *layer, const Level *level, Plan *plan) {
  if (level == nullptr) return SUBBYTE_BAD_ISA;
  if (layer == nullptr) return fail(SUBBYTE_BAD_BUFFER, "layer: expected a pointer, got null");
  *plan = Plan{};
  plan->level = level;
  int status = check_geometry(layer->geometry);
  if (status == SUBBYTE_OK) status = check_fields(*layer);
  if (status == SUBBYTE_OK) status = set_weights(*layer, plan);
  if (status == SUBBYTE_OK) status = make_walk(layer->geometry, plan);
  if (status == SUBBYTE_OK) status = set_rows(plan);
  if (status == SUBBYTE_OK) status = set_band(plan);
  if (status == SUBBYTE_OK) status = set_scratch(plan);
  return status;
}

Header header_of(const subbyte_conv_binary &l, const Level &level) {
  const subbyte_geometry &g = l.geometry;
  return make_header(
      level.name, {g.inputs, g.outputs, g.groups, g.kernel[0], g.kernel[1], int64_t{0x42494e41}});
}

}  // namespace subbyte::conv_binary
