#include "conv_int8/plan.h"

#include <algorithm>

#include "error.h"

namespace subbyte::conv_int8 {
namespace {

// Half of a common L2 cache: the other half is for the weights.
constexpr int64_t kBandBytes = 256 << 10;
// Products of a sum: 65536 * 255 * 128 is below 2^31.
constexpr int64_t kMostProducts = 1 << 16;

void set_depthwise(const Level &level, Plan *p) {
  const int64_t taps = level.depthwise_taps;
  p->step_taps = taps > 1 && p->kernel_width == 3 ? 3 : taps;
  p->depthwise_steps = ceil_div(p->taps, p->step_taps);
  if (taps == 1) p->depthwise_steps += p->depthwise_steps % 2;
  p->depthwise_step = p->chunks * kChannels * (taps > 1 ? taps : int64_t{sizeof(int16_t)});
}

int set_weights(const subbyte_conv_int8 &l, Plan *p) {
  const subbyte_geometry &g = l.geometry;
  const Level &level = *p->level;
  p->taps = g.kernel[0] * g.kernel[1];
  p->channels = g.inputs / g.groups;
  p->outputs = g.outputs / g.groups;
  p->kernel_width = g.kernel[1];
  p->depthwise = g.groups > 1 && p->channels == 1 && p->outputs == 1;
  p->merged =
      g.groups == 1 && g.kernel[1] > 1 && g.dilations[1] == 1 && p->channels % level.quad != 0;
  if (p->merged) {
    p->taps = g.kernel[0];
    p->channels *= g.kernel[1];
    p->kernel_width = 1;
  }
  p->steps = ceil_div(p->channels, level.quad);
  p->lane_blocks = ceil_div(p->outputs, kLanes);
  p->chunks = ceil_div(g.inputs, kChannels);
  if (p->taps > kMostProducts / p->channels) {
    return fail(SUBBYTE_BAD_SHAPE, "products of a sum: expected at most %lld, got %lld * %lld",
                static_cast<long long>(kMostProducts), static_cast<long long>(p->taps),
                static_cast<long long>(p->channels));
  }
  const int64_t row = level.quad * level.element * kLanes;
  if (!fits(g.groups, p->lane_blocks, p->taps * p->steps * row)) return too_large("weights");
  const int64_t lanes = p->depthwise ? p->chunks * kChannels : p->lane_blocks * kLanes;
  set_depthwise(level, p);
  const int64_t weights = p->depthwise ? p->depthwise_steps * p->depthwise_step
                                       : p->lane_blocks * p->taps * p->steps * row;
  const int64_t groups = p->depthwise ? 1 : g.groups;
  p->start = aligned(sizeof(Header));
  p->start_step = static_cast<size_t>(lanes) * sizeof(int32_t);
  p->weights = p->start + aligned(groups * static_cast<int64_t>(p->start_step));
  p->weights_step = static_cast<size_t>(weights);
  p->packed_size = p->weights + aligned(groups * weights);
  return SUBBYTE_OK;
}

int set_input(const subbyte_conv_int8 &l, Plan *p) {
  const subbyte_geometry &g = l.geometry;
  const Level &level = *p->level;
  const bool padded = std::any_of(g.pads, g.pads + 4, [](int64_t pad) { return pad != 0; });
  p->direct = !padded && !p->depthwise && !p->merged && level.element == 1 &&
              p->channels % level.quad == 0;
  if (p->direct) {
    p->group_bytes = static_cast<ptrdiff_t>(p->channels);
    p->pixel_bytes = static_cast<ptrdiff_t>(p->column_step * g.inputs);
    p->row_bytes = static_cast<ptrdiff_t>(p->row_step * g.width * g.inputs);
    return SUBBYTE_OK;
  }
  p->group_bytes = static_cast<ptrdiff_t>(p->steps * level.quad * level.element);
  int64_t pixel = g.groups * p->group_bytes;
  if (p->depthwise) pixel = p->chunks * kChannels;
  if (p->merged) pixel = g.inputs * level.element;
  if (!fits(p->padded_columns, pixel)) return too_large("a row of x");
  p->pixel_bytes = static_cast<ptrdiff_t>(pixel);
  p->row_bytes = static_cast<ptrdiff_t>(p->padded_columns * pixel);
  return SUBBYTE_OK;
}

int set_scratch(Plan *p) {
  const int64_t held = kBandBytes / p->row_bytes;
  p->band = held <= p->reach ? 1 : (held - p->reach) / p->stride[0] + 1;
  p->band = std::min(p->band, p->out_height);
  const int64_t rows = p->direct ? 0 : (p->band - 1) * p->stride[0] + p->reach;
  if (rows > 0 && !fits(rows, p->row_bytes)) return too_large("a band of x");
  p->tap_offsets = 0;
  const int64_t offsets =
      p->depthwise ? p->depthwise_steps * p->level->depthwise_taps : p->taps;
  p->acc = aligned(offsets * static_cast<int64_t>(sizeof(ptrdiff_t)));
  // The last stage may read 64 sums of every pixel, whatever their distance.
  p->staging = p->acc + aligned((kMaxPixels + 1) * kMaxBlocks * kLanes * 4);
  // The last pixels of merged rows are read in whole steps.
  p->scratch_size = p->staging + aligned(rows * p->row_bytes + SUBBYTE_ALIGNMENT);
  return SUBBYTE_OK;
}

}  // namespace

int make_plan(const subbyte_conv_int8 *layer, const Level *level, Plan *plan) {
  if (level == nullptr) return SUBBYTE_BAD_ISA;
  if (layer == nullptr) return fail(SUBBYTE_BAD_BUFFER, "layer: expected a pointer, got null");
  *plan = Plan{};
  plan->level = level;
  int status = check_geometry(layer->geometry);
  if (status == SUBBYTE_OK) status = check_field({"input_zero", layer->input_zero, 0, 255});
  if (status == SUBBYTE_OK) status = set_weights(*layer, plan);
  if (status == SUBBYTE_OK) status = make_walk(layer->geometry, plan);
  if (status == SUBBYTE_OK) status = set_input(*layer, plan);
  if (status == SUBBYTE_OK) status = set_scratch(plan);
  return status;
}

Header header_of(const subbyte_conv_int8 &l, const Level &level) {
  const subbyte_geometry &g = l.geometry;
  // Of the dilation, whether it is 1: rows of the kernel are merged only then.
  return make_header(level.name, {g.inputs, g.outputs, g.groups, g.kernel[0], g.kernel[1],
                                  l.input_zero, int64_t{g.dilations[1] == 1}, int64_t{0x494e5438}});
}

}  // namespace subbyte::conv_int8
