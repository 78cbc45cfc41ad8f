#include "gemv/plan.h"

#include <algorithm>

#include "error.h"
#include "finish/levels.h"
#include "geometry.h"
#include "conv_lut16/plan.h"

namespace subbyte::gemv {
namespace {

// Products of a sum: 65536 * 255 * 128 is below 2^31; of look-ups (at most 255 * 64 each, with
// as much again in their start value) this many are.
constexpr int64_t kMostProducts = 1 << 16;

template <typename Layer>
int start_plan(const Layer *layer, const Level *level, Plan *plan) {
  if (level == nullptr) return SUBBYTE_BAD_ISA;
  if (layer == nullptr) return fail(SUBBYTE_BAD_BUFFER, "layer: expected a pointer, got null");
  *plan = Plan{};
  plan->level = level;
  plan->tables = conv_lut16::kLevels.at(level->name);
  plan->finish = finish::kLevels.at(level->name)->run;
  const Field fields[] = {{"rows", layer->rows, 1, kLargest},
                          {"inputs", layer->inputs, 1, kLargest},
                          {"outputs", layer->outputs, 1, kLargest},
                          {"input_zero", layer->input_zero, 0, 255}};
  for (const Field &field : fields) {
    const int status = check_field(field);
    if (status != SUBBYTE_OK) return status;
  }
  plan->rows = layer->rows;
  plan->inputs = layer->inputs;
  plan->outputs = layer->outputs;
  plan->tiles = ceil_div(layer->outputs, kTile);
  if (!fits(plan->rows, plan->inputs) || !fits(plan->rows, plan->outputs, 4)) {
    return too_large("x or y");
  }
  return SUBBYTE_OK;
}

int too_many(const char *what, int64_t got) {
  return fail(SUBBYTE_BAD_SHAPE, "%s: expected at most %lld, got %lld", what,
              static_cast<long long>(kMostProducts), static_cast<long long>(got));
}

// What both forms have behind their own parts; `at` is where it begins. Within kMostBytes, for
// there are at most 2^24 tiles of 2^11 units of 2^11 bytes.
void set_weights(size_t at, Plan *p) {
  p->start = at;
  p->levels = p->start + aligned(p->tiles * kTile * static_cast<int64_t>(sizeof(int32_t)));
  p->weights = p->levels + aligned(kLevelTables * kVectorBytes);
  p->packed_size = p->weights + static_cast<size_t>(p->tiles * p->units * p->unit_bytes());
}

int set_words(const subbyte_gemv_lut16 &l, Plan *p) {
  const Field fields[] = {{"word_length", l.word_length, 1, 16},
                          {"shared", l.shared, 0, 1},
                          {"gain_levels", l.gain_levels, 0, 16},
                          {"shift", l.shift, 0, 8}};
  for (const Field &field : fields) {
    const int status = check_field(field);
    if (status != SUBBYTE_OK) return status;
  }
  p->accumulate = p->level->lookup;
  while (l.gain_levels > (p->bits == 0 ? 0 : 1 << p->bits)) ++p->bits;
  p->lane_bytes = kCodeBytes + p->bits * kVectorBytes;
  p->words = ceil_div(l.inputs, l.word_length);
  p->units = ceil_div(p->words, kUnit);
  if (p->units * kUnit > kMostProducts) return too_many("codes of an output", p->words);
  p->word_length = static_cast<int>(l.word_length);
  p->chunks = static_cast<int>(ceil_div(l.word_length, p->tables->chunk));
  p->read = (p->units * kUnit - 1) * l.word_length + p->chunks * p->tables->chunk;
  return SUBBYTE_OK;
}

}  // namespace

int64_t Plan::unit_at(int64_t tile, int64_t unit) const {
  constexpr int64_t kTiles = kBlock / kTile;
  const int64_t first = tile / kTiles * kTiles, begin = unit / kChunk * kChunk;
  const int64_t in_block = std::min(kTiles, tiles - first);
  const int64_t in_chunk = std::min<int64_t>(kChunk, units - begin);
  return (first * units + begin * in_block + (tile - first) * in_chunk + unit - begin) *
         unit_bytes();
}

int make_plan(const subbyte_gemv_lut16 *layer, const Level *level, Plan *plan) {
  int status = start_plan(layer, level, plan);
  if (status == SUBBYTE_OK) status = set_words(*layer, plan);
  if (status != SUBBYTE_OK) return status;
  const int64_t words = plan->units * kUnit * conv_lut16::kWords;
  plan->codebook = aligned(sizeof(Header));
  plan->word_start = plan->codebook + aligned(words * plan->chunks * plan->tables->chunk);
  set_weights(plan->word_start + aligned(words * 2), plan);
  plan->staging_row = aligned(plan->read);
  plan->unit_data = kTableBytes;
  plan->data_row = static_cast<size_t>(plan->units) * plan->unit_data;
  const auto row = static_cast<int64_t>(plan->staging_row + plan->data_row);
  if (!fits(plan->rows, row)) return too_large("tables");
  plan->data = static_cast<size_t>(plan->rows) * plan->staging_row;
  plan->scratch_size = static_cast<size_t>(plan->rows * row);
  return SUBBYTE_OK;
}

int make_plan(const subbyte_gemv_int4 *layer, const Level *level, Plan *plan) {
  int status = start_plan(layer, level, plan);
  if (status == SUBBYTE_OK) status = check_field({"bits", layer->bits, 2, 4});
  if (status != SUBBYTE_OK) return status;
  if (layer->inputs > kMostProducts) return too_many("inputs", layer->inputs);
  plan->accumulate = level->unpack;
  plan->bits = layer->bits;
  plan->lane_bytes = layer->bits * kVectorBytes;
  plan->units = ceil_div(layer->inputs, kUnit);
  set_weights(aligned(sizeof(Header)), plan);
  plan->unit_data = kUnit;
  plan->data_row = aligned(plan->units * kUnit);
  if (!fits(plan->rows, static_cast<int64_t>(plan->data_row))) return too_large("x");
  plan->scratch_size = static_cast<size_t>(plan->rows) * plan->data_row;
  return SUBBYTE_OK;
}

Header header_of(const subbyte_gemv_lut16 &l, const Level &level) {
  return make_header(level.name, {l.inputs, l.outputs, l.word_length, l.shared, l.gain_levels,
                                  l.input_zero, l.shift, int64_t{0x47454d4c}});
}

Header header_of(const subbyte_gemv_int4 &l, const Level &level) {
  return make_header(level.name,
                     {l.inputs, l.outputs, l.bits, l.input_zero, 0, 0, 0, int64_t{0x47454d55}});
}

}  // namespace subbyte::gemv
