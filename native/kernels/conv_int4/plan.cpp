#include "conv_int4/plan.h"

#include <algorithm>
#include <iterator>

#include "error.h"

namespace subbyte::conv_int4 {
namespace {

using conv_int8::kLanes;

// Of unpacked weights: what the second cache holds beside x. Panels of the nearest cache's size
// were slower: tiles begin and end more often, and sums are added up.
constexpr int64_t kPanelBytes = 384 << 10;
// With more than one panel, sums of so many pixels are held: 64 KiB of them.
constexpr int64_t kShare = 256;

// Even parts of `total`, of at most `most` each.
int64_t even(int64_t total, int64_t most) {
  return ceil_div(total, ceil_div(total, std::max<int64_t>(most, 1)));
}

void set_panels(Plan *p) {
  const int64_t row = p->level->blocks * kLanes * p->level->quad * p->level->element;
  const int64_t rows = kPanelBytes / row;
  p->panel_steps = even(p->steps, rows);
  p->panel_taps = p->panel_steps < p->steps ? 1 : even(p->taps, rows / p->steps);
  p->step_panels = ceil_div(p->steps, p->panel_steps);
  p->tap_panels = ceil_div(p->taps, p->panel_taps);
}

// Bytes of the codes of all panels of a block.
int64_t bytes_of_block(const Plan &p, int64_t blocks) {
  int64_t units = 0;
  for (int64_t i = 0; i < p.panels(); ++i) units += p.units(p.panel_at(i), blocks);
  return units * p.bits * kVector;
}

void set_sizes(const subbyte_conv_int4 &layer, Plan *p) {
  const int most = p->level->blocks;
  const int64_t rest = p->lane_blocks % most;
  p->block_bytes = bytes_of_block(*p, most);
  const int64_t group = p->lane_blocks / most * p->block_bytes +
                        (rest > 0 ? bytes_of_block(*p, rest) : 0);
  p->levels = p->weights;
  p->weights = p->levels + aligned(kCodeValues);
  p->weights_step = static_cast<size_t>(group);
  p->packed_size = p->weights + aligned(layer.geometry.groups * group);
  p->share = p->band * p->out_width;
  if (p->panels() > 1) p->share = std::min(p->share, kShare);
  // Sums outlive a panel if there are more; the last stage may read kMaxBlocks of a pixel.
  const int64_t held = p->panels() > 1 ? p->share + 1 : 0;
  p->panel = p->scratch_size;
  p->sums = p->panel + aligned(p->units(p->panel_at(0), most) * kUnit * p->level->element);
  p->scratch_size = p->sums + aligned(held * conv_int8::kMaxBlocks * kLanes * 4);
}

}  // namespace

Panel Plan::panel_at(int64_t index) const {
  const int64_t tap = index / step_panels * panel_taps, step = index % step_panels * panel_steps;
  return {tap, std::min(panel_taps, taps - tap), step, std::min(panel_steps, steps - step)};
}

int64_t Plan::units(const Panel &part, int64_t blocks) const {
  return ceil_div(part.taps * part.steps * blocks * kLanes * level->quad, kUnit);
}

subbyte_conv_int8 with_int8(const subbyte_conv_int4 &layer) {
  return {layer.geometry, layer.input_zero};
}

conv_int8::Header header_of(const subbyte_conv_int4 &layer, const conv_int8::Level &level) {
  conv_int8::Header header = conv_int8::header_of(with_int8(layer), level);
  // In the place of int8's own mark: neither kernel takes what is packed for the other.
  std::end(header.fields)[-1] = int64_t{0x554e5000} + layer.bits;
  return header;
}

int make_plan(const subbyte_conv_int4 *layer, const conv_int8::Level *level, Plan *plan) {
  if (level == nullptr) return SUBBYTE_BAD_ISA;
  if (layer == nullptr) return fail(SUBBYTE_BAD_BUFFER, "layer: expected a pointer, got null");
  *plan = Plan{};
  const subbyte_conv_int8 tiles = with_int8(*layer);
  int status = check_field({"bits", layer->bits, 3, 4});
  if (status == SUBBYTE_OK) status = conv_int8::make_plan(&tiles, level, plan);
  if (status != SUBBYTE_OK) return status;
  if (plan->depthwise) {
    return fail(SUBBYTE_BAD_SHAPE, "groups: expected more than one input or output each");
  }
  plan->unpacker = kLevels.at(level->name);
  plan->bits = layer->bits;
  set_panels(plan);
  set_sizes(*layer, plan);
  return SUBBYTE_OK;
}

}  // namespace subbyte::conv_int4
