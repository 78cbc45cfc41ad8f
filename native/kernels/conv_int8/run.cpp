// The walk over a layer: x of a band of rows as the kernels read it, then all output tiles.
#include <algorithm>
#include <cstring>

#include "checks.h"
#include "conv_int8/walk.h"
#include "finish/levels.h"

namespace subbyte::conv_int8 {
namespace {

void fill(const Call &call, uint8_t *to, int64_t pixels) {
  const int64_t count = pixels * call.plan.pixel_bytes;
  const auto zero = static_cast<uint8_t>(call.layer.input_zero);
  if (call.plan.depthwise || call.plan.level->element == 1) {
    std::memset(to, zero, static_cast<size_t>(count));
  } else {
    std::fill_n(reinterpret_cast<uint16_t *>(to), count / 2, uint16_t{zero});
  }
}

// One pixel's channels, each group filled up to whole steps.
void stage_pixel(const Call &call, const uint8_t *x, uint8_t *to) {
  const Plan &plan = call.plan;
  if (plan.depthwise || (call.layer.geometry.groups == 1 && plan.level->element == 1)) {
    std::memcpy(to, x, static_cast<size_t>(call.layer.geometry.inputs));
    return;
  }
  const int64_t channels = call.layer.geometry.inputs / call.layer.geometry.groups;
  for (int64_t group = 0; group < call.layer.geometry.groups; ++group) {
    if (plan.level->element == 1) {
      std::memcpy(to, x, static_cast<size_t>(channels));
    } else {
      auto *wide = reinterpret_cast<uint16_t *>(to);
      for (int64_t i = 0; i < channels; ++i) wide[i] = x[i];
    }
    x += channels;
    to += plan.group_bytes;
  }
}

// The padded rows begin <= row < end, the first of them at `to`.
void stage_rows(const Call &call, int64_t image, int64_t begin, int64_t end, uint8_t *to) {
  const Plan &plan = call.plan;
  const subbyte_conv_int8 &l = call.layer;
  const subbyte_geometry &g = l.geometry;
  const int64_t step = plan.column_step * g.inputs;
  for (int64_t row = begin; row < end; ++row, to += plan.row_bytes) {
    const int64_t y = row - g.pads[0];
    if (y < 0 || y >= plan.rows) {
      fill(call, to, plan.padded_columns);
      continue;
    }
    const uint8_t *x = call.x + (image * g.height + y * plan.row_step) * g.width * g.inputs;
    uint8_t *pixel = to + g.pads[1] * plan.pixel_bytes;
    fill(call, to, g.pads[1]);
    // Only a row of which every pixel is read: others may end before their last step does.
    if (plan.column_step == 1 && plan.pixel_bytes == g.inputs && plan.level->element == 1) {
      std::memcpy(pixel, x, static_cast<size_t>(plan.columns * g.inputs));
    } else {
      for (int64_t column = 0; column < plan.columns; ++column) {
        stage_pixel(call, x + column * step, pixel + column * plan.pixel_bytes);
      }
    }
    fill(call, pixel + plan.columns * plan.pixel_bytes, g.pads[3]);
  }
}

// The last stage for pixels of a band, from this one on, and outputs from `channel` on.
finish::Job finish_job(const Call &call, const Band &band, int64_t pixel, int64_t channel) {
  finish::Job job = {};
  job.output = call.output;
  job.channel = channel;
  job.y_stride = call.layer.geometry.outputs;
  job.y_offset =
      ((band.image * call.plan.out_height + band.begin) * call.plan.out_width + pixel) *
          job.y_stride +
      channel;
  job.y = call.y;
  return job;
}

// The weights stay in the nearest cache.
void run_block(const Call &call, const Band &band, const Block &block) {
  const Plan &plan = call.plan;
  const Level &level = *plan.level;
  const int64_t block_bytes = plan.taps * plan.steps * kLanes * level.quad * level.element;
  const uint8_t *pixels[kMaxPixels] = {};
  Tile tile = {};
  tile.pixels = pixels;
  tile.tap_offsets = call.tap_offsets();
  tile.taps = plan.taps;
  tile.steps = plan.steps;
  tile.weights = call.packed + plan.weights +
                 static_cast<size_t>(block.group) * plan.weights_step + block.first * block_bytes;
  tile.start = call.start(block);
  tile.acc = call.acc();
  const int64_t total = (band.end - band.begin) * plan.out_width;
  const Cursor cursor = {band.x + block.group * plan.group_bytes, 0};
  const int most = level.pixels[block.count - 1];
  for_tiles(plan, cursor, total, most, pixels, [&](int64_t pixel, int count) {
    level.accumulate(block.count, count)(tile);
    finish_tile(call, band, block, tile.acc, pixel, count);
  });
}

// kChannels channels of a depthwise convolution, a few pixels of a row at a time.
void run_channels(const Call &call, const Band &band, int64_t channel) {
  const Plan &plan = call.plan;
  Depthwise job = {};
  job.pixel_stride = static_cast<ptrdiff_t>(plan.stride[1] * plan.pixel_bytes);
  job.tap_offsets = call.tap_offsets();
  job.steps = plan.depthwise_steps;
  job.step_taps = static_cast<int>(plan.step_taps);
  const int64_t each = plan.depthwise_step / (plan.chunks * kChannels);
  job.weights = call.packed + plan.weights + channel * each;
  job.weight_stride = static_cast<ptrdiff_t>(plan.depthwise_step);
  job.start = reinterpret_cast<const int32_t *>(call.packed + plan.start) + channel;
  job.acc = call.acc();
  for (int64_t row = 0; row < band.end - band.begin; ++row) {
    for (int64_t column = 0; column < plan.out_width; column += kMaxPixels) {
      job.x = band.x + row * plan.stride[0] * plan.row_bytes + column * job.pixel_stride + channel;
      job.count = static_cast<int>(std::min<int64_t>(kMaxPixels, plan.out_width - column));
      plan.level->depthwise(job);
      finish::Job finish = finish_job(call, band, row * plan.out_width + column, channel);
      finish.acc = job.acc;
      finish.acc_stride = kChannels;
      finish.pixels = job.count;
      finish.channels =
          static_cast<int>(std::min<int64_t>(kChannels, call.layer.geometry.outputs - channel));
      call.finish(finish);
    }
  }
}

void run_band(const Call &call, const Band &band) {
  const Plan &plan = call.plan;
  if (plan.depthwise) {
    for (int64_t chunk = 0; chunk < plan.chunks; ++chunk) {
      run_channels(call, band, chunk * kChannels);
    }
    return;
  }
  const int most = plan.level->blocks;
  for (int64_t group = 0; group < call.layer.geometry.groups; ++group) {
    for (int64_t first = 0; first < plan.lane_blocks; first += most) {
      const int count = static_cast<int>(std::min<int64_t>(most, plan.lane_blocks - first));
      call.run_block(call, band, {group, first, count});
    }
  }
}

void run_image(const Call &call, int64_t image, int64_t row_begin, int64_t row_end) {
  const Plan &plan = call.plan;
  const subbyte_conv_int8 &l = call.layer;
  const subbyte_geometry &g = l.geometry;
  int64_t held_begin = 0, held_end = 0;
  for (int64_t row = row_begin; row < row_end; row += plan.band) {
    Band band = {image, row, std::min(row + plan.band, row_end), call.staging()};
    const int64_t begin = row * plan.stride[0];
    if (plan.direct) {
      band.x = call.x + image * g.height * g.width * g.inputs + begin * plan.row_bytes;
    } else {
      const int64_t end = (band.end - 1) * plan.stride[0] + plan.reach;
      // Rows that the band before has staged are moved, not staged again.
      const int64_t kept = std::max<int64_t>(0, held_end - begin);
      if (kept > 0) {
        std::memmove(call.staging(), call.staging() + (begin - held_begin) * plan.row_bytes,
                     static_cast<size_t>(kept * plan.row_bytes));
      }
      stage_rows(call, image, begin + kept, end, call.staging() + kept * plan.row_bytes);
      held_begin = begin;
      held_end = end;
    }
    run_band(call, band);
  }
}

void set_tap_offsets(const Call &call) {
  const Plan &plan = call.plan;
  const int64_t *dilations = call.layer.geometry.dilations;
  const auto offset = [&](int64_t tap) {
    return static_cast<ptrdiff_t>(tap / plan.kernel_width * dilations[0] * plan.row_bytes +
                                  tap % plan.kernel_width * dilations[1] * plan.pixel_bytes);
  };
  ptrdiff_t *to = call.tap_offsets();
  if (!plan.depthwise) {
    for (int64_t tap = 0; tap < plan.taps; ++tap) *to++ = offset(tap);
    return;
  }
  // Where a step has fewer taps, it reads its last one again.
  for (int64_t step = 0; step < plan.depthwise_steps; ++step) {
    for (int64_t slot = 0; slot < plan.level->depthwise_taps; ++slot) {
      const int64_t tap = step * plan.step_taps + std::min(slot, plan.step_taps - 1);
      *to++ = offset(std::min(tap, plan.taps - 1));
    }
  }
}

}  // namespace

void finish_tile(const Call &call, const Band &band, const Block &block, const int32_t *sums,
                 int64_t pixel, int count) {
  const int64_t outputs = call.plan.outputs, first = block.first * kLanes;
  finish::Job job = finish_job(call, band, pixel, block.group * outputs + first);
  job.acc = sums;
  job.acc_stride = block.count * kLanes;
  job.pixels = count;
  job.channels = static_cast<int>(std::min<int64_t>(job.acc_stride, outputs - first));
  call.finish(job);
}

int walk(const Call &call, int64_t row_begin, int64_t row_end) {
  const Plan &plan = call.plan;
  int status = check_rows(row_begin, row_end, call.layer.geometry.images * plan.out_height);
  if (status == SUBBYTE_OK) status = check_output(call.output);
  if (status != SUBBYTE_OK) return status;
  set_tap_offsets(call);
  for_images(plan.out_height, row_begin, row_end, [&](int64_t image, int64_t begin, int64_t end) {
    run_image(call, image, begin, end);
  });
  return SUBBYTE_OK;
}

int run(const subbyte_conv_int8 &layer, const Plan &plan, const void *packed, const uint8_t *x,
        const subbyte_output *output, void *y, int64_t row_begin, int64_t row_end, void *scratch) {
  const int status = check_header(packed, header_of(layer, *plan.level));
  if (status != SUBBYTE_OK) return status;
  return walk({layer, plan, static_cast<const char *>(packed), x, output, y,
               static_cast<char *>(scratch), finish::kLevels.at(plan.level->name)->run, run_block},
              row_begin, row_end);
}

}  // namespace subbyte::conv_int8
