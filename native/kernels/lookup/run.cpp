// The walk over a layer: tables of a band of rows, then all its output tiles.
#include <algorithm>
#include <cstring>

#include "error.h"
#include "lookup/plan.h"
#include "output.h"

namespace subbyte::lookup {
namespace {

struct Call {
  const subbyte_lookup &layer;
  const Plan &plan;
  const char *packed;
  const uint8_t *x, *x_end;
  const subbyte_output *output;
  void *y;
  char *scratch;

  ptrdiff_t *tap_offsets() const {
    return reinterpret_cast<ptrdiff_t *>(scratch + plan.tap_offsets);
  }
  uint8_t *tables() const { return reinterpret_cast<uint8_t *>(scratch + plan.tables); }
  // The entry of x = input_zero is half >> shift = 0 for every word.
  uint8_t flip() const { return plan.level->flip[plan.gain] ? 0x80 : 0; }
};

// One group of the convolution on one image.
struct Part {
  int64_t image, group;
};

// Tables of `count` pixels in a row. The build stage reads whole vectors of words, so at the
// tensor's end, where that would be beyond it, pixels go through a copy filled with zeros.
void build_run(const Call &call, const Part &part, const uint8_t *x, int64_t count,
               uint8_t *tables) {
  const Plan &plan = call.plan;
  const auto group = static_cast<size_t>(part.group);
  TableJob job = {};
  job.x = x;
  job.x_stride = static_cast<ptrdiff_t>(plan.column_step * call.layer.inputs);
  job.codebook = reinterpret_cast<const int8_t *>(call.packed + plan.codebook +
                                                  group * plan.codebook_step);
  job.start = reinterpret_cast<const int16_t *>(call.packed + plan.start +
                                                group * plan.start_step);
  job.vectors = plan.vectors;
  job.word_length = plan.word_length;
  job.chunks = plan.chunks;
  job.shift = call.layer.shift;
  job.flip = call.flip();
  job.tables = tables;
  job.table_stride = plan.pixel_bytes;
  const int64_t room = call.x_end - x - plan.read;
  const int64_t direct = room < 0 ? 0 : std::min(count, room / job.x_stride + 1);
  job.count = direct;
  plan.level->build(job);
  auto *staging = reinterpret_cast<uint8_t *>(call.scratch + plan.staging);
  for (int64_t pixel = direct; pixel < count; ++pixel) {
    std::memset(staging, 0, static_cast<size_t>(plan.read));
    std::memcpy(staging, x + pixel * job.x_stride, static_cast<size_t>(plan.channels));
    job.x = staging;
    job.count = 1;
    job.tables = tables + pixel * plan.pixel_bytes;
    plan.level->build(job);
  }
}

// Tables of the padded rows begin <= row < end, the first of them at `tables`.
void build_rows(const Call &call, const Part &part, int64_t begin, int64_t end,
                uint8_t *tables) {
  const Plan &plan = call.plan;
  const subbyte_lookup &l = call.layer;
  const ptrdiff_t row_stride = static_cast<ptrdiff_t>(plan.row_step * l.width * l.inputs);
  const uint8_t *image = call.x + part.image * l.height * l.width * l.inputs +
                         part.group * plan.channels;
  const auto left = static_cast<size_t>(l.pads[1] * plan.pixel_bytes);
  const auto right = static_cast<size_t>(l.pads[3] * plan.pixel_bytes);
  const bool contiguous =
      left + right == 0 && row_stride == plan.columns * plan.column_step * l.inputs;
  for (int64_t row = begin; row < end; ++row, tables += plan.row_bytes) {
    const int64_t y = row - l.pads[0];
    if (y < 0 || y >= plan.rows) {
      std::memset(tables, call.flip(), static_cast<size_t>(plan.row_bytes));
      continue;
    }
    const uint8_t *x = image + y * row_stride;
    if (contiguous) {
      const int64_t together = std::min(end - row, plan.rows - y);
      build_run(call, part, x, together * plan.columns, tables);
      row += together - 1;
      tables += (together - 1) * plan.row_bytes;
      continue;
    }
    std::memset(tables, call.flip(), left);
    build_run(call, part, x, plan.columns, tables + left);
    std::memset(tables + plan.row_bytes - static_cast<ptrdiff_t>(right), call.flip(), right);
  }
}

// All tiles of one block of outputs over a band: the codes stay in the nearest cache.
void run_block(const Call &call, const Part &part, int64_t lane_block, int64_t row_begin,
               int64_t row_end) {
  const Plan &plan = call.plan;
  const Level &level = *plan.level;
  const auto group = static_cast<size_t>(part.group);
  const int blocks =
      static_cast<int>(std::min<int64_t>(level.blocks, plan.lane_blocks - lane_block));
  const size_t codes = group * plan.codes_step +
                       static_cast<size_t>(lane_block * plan.taps * plan.vectors * kVectorBytes);
  const uint8_t *starts[kMaxPixels] = {};
  Tile tile = {};
  tile.tables = starts;
  tile.tap_offsets = call.tap_offsets();
  tile.taps = plan.taps;
  tile.vectors = plan.vectors;
  tile.codes = reinterpret_cast<const uint8_t *>(call.packed + plan.codes + codes);
  tile.gains = reinterpret_cast<const int8_t *>(call.packed + plan.gains + codes);
  std::memcpy(&tile.gain_unit, call.packed + plan.gain_unit, sizeof tile.gain_unit);
  tile.start = reinterpret_cast<const int32_t *>(call.packed + plan.sums +
                                                 group * plan.sums_step) +
               lane_block * kLanes;
  tile.acc = reinterpret_cast<int32_t *>(call.scratch + plan.acc);
  Finish finish = {};
  finish.output = call.output;
  finish.acc = tile.acc;
  finish.acc_stride = blocks * kLanes;
  finish.channels =
      static_cast<int>(std::min<int64_t>(blocks * kLanes, plan.outputs - lane_block * kLanes));
  finish.channel = part.group * plan.outputs + lane_block * kLanes;
  finish.y_stride = call.layer.outputs;
  finish.y = call.y;

  const int64_t total = (row_end - row_begin) * plan.out_width;
  const Gain gain = !plan.gain ? kNoGain : tile.gain_unit == 0 ? kAnyGain : kSmallGain;
  const int most = level.pixels[gain][blocks - 1];
  int64_t tiles = (total + most - 1) / most;
  int64_t column = 0;
  const uint8_t *row = call.tables();
  for (int64_t pixel = 0; pixel < total; --tiles) {
    // Even shares: no small tile is left at the end.
    const int count = static_cast<int>((total - pixel + tiles - 1) / tiles);
    for (int p = 0; p < count; ++p) {
      starts[p] = row + column * plan.stride[1] * plan.pixel_bytes;
      if (++column == plan.out_width) {
        column = 0;
        row += plan.stride[0] * plan.row_bytes;
      }
    }
    level.accumulate(gain, blocks, count)(tile);
    finish.pixels = count;
    finish.y_offset =
        ((part.image * plan.out_height + row_begin) * plan.out_width + pixel) * finish.y_stride +
        finish.channel;
    level.finish(finish);
    pixel += count;
  }
}

void run_part(const Call &call, const Part &part, int64_t row_begin, int64_t row_end) {
  const Plan &plan = call.plan;
  int64_t held_begin = 0, held_end = 0;
  for (int64_t row = row_begin; row < row_end; row += plan.band) {
    const int64_t last = std::min(row + plan.band, row_end);
    const int64_t begin = row * plan.stride[0];
    const int64_t end = (last - 1) * plan.stride[0] + plan.reach;
    // Rows that the band before has built are moved, not built again.
    const int64_t kept = std::max<int64_t>(0, held_end - begin);
    if (kept > 0) {
      std::memmove(call.tables(), call.tables() + (begin - held_begin) * plan.row_bytes,
                   static_cast<size_t>(kept * plan.row_bytes));
    }
    build_rows(call, part, begin + kept, end, call.tables() + kept * plan.row_bytes);
    held_begin = begin;
    held_end = end;
    for (int64_t block = 0; block < plan.lane_blocks; block += plan.level->blocks) {
      run_block(call, part, block, row, last);
    }
  }
}

}  // namespace

int run(const subbyte_lookup &layer, const Plan &plan, const void *packed, const uint8_t *x,
        const subbyte_output *output, void *y, int64_t row_begin, int64_t row_end,
        void *scratch) {
  PackedHeader header;
  fill_header(layer, *plan.level, &header);
  if (std::memcmp(&header, packed, sizeof header) != 0) {
    return fail(SUBBYTE_BAD_BUFFER, "packed: expected weights of this layer packed for %s",
                plan.level->name);
  }
  int status = check_rows(row_begin, row_end, layer.images * plan.out_height);
  if (status == SUBBYTE_OK) status = check_output(output);
  if (status != SUBBYTE_OK) return status;
  const Call call = {layer, plan, static_cast<const char *>(packed), x,
                     x + layer.images * layer.height * layer.width * layer.inputs, output, y,
                     static_cast<char *>(scratch)};
  for (int64_t tap = 0; tap < plan.taps; ++tap) {
    call.tap_offsets()[tap] =
        tap / layer.kernel[1] * layer.dilations[0] * plan.row_bytes +
        tap % layer.kernel[1] * layer.dilations[1] * plan.pixel_bytes;
  }
  for (int64_t row = row_begin; row < row_end;) {
    const int64_t image = row / plan.out_height;
    const int64_t end = std::min(row_end, (image + 1) * plan.out_height);
    for (int64_t group = 0; group < layer.groups; ++group) {
      run_part(call, {image, group}, row - image * plan.out_height,
               end - image * plan.out_height);
    }
    row = end;
  }
  return SUBBYTE_OK;
}

}  // namespace subbyte::lookup
