// The walk over a layer: tables of a band of rows, then all its output tiles.
#include "checks.h"
#include "conv_lut16/plan.h"
#include "finish/levels.h"
#include "table_rows.h"
#include "tiles.h"

namespace subbyte::conv_lut16 {
namespace {

struct Call : TableCall<subbyte_conv_lut16, Plan> {
  ptrdiff_t *tap_offsets() const {
    return reinterpret_cast<ptrdiff_t *>(scratch + plan.tap_offsets);
  }
};

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
  finish::Job job = {};
  job.output = call.output;
  job.acc = tile.acc;
  job.acc_stride = blocks * kLanes;
  job.channels =
      static_cast<int>(std::min<int64_t>(blocks * kLanes, plan.outputs - lane_block * kLanes));
  job.channel = part.group * plan.outputs + lane_block * kLanes;
  job.y_stride = call.layer.geometry.outputs;
  job.y = call.y;

  const Gain gain = !plan.gain ? kNoGain : tile.gain_unit == 0 ? kAnyGain : kSmallGain;
  const int64_t first = (part.image * plan.out_height + row_begin) * plan.out_width;
  const int most = level.pixels[gain][blocks - 1];
  const int64_t total = (row_end - row_begin) * plan.out_width;
  for_tiles(plan, {call.tables(), 0}, total, most, starts, [&](int64_t pixel, int count) {
    level.accumulate(gain, blocks, count)(tile);
    job.pixels = count;
    job.y_offset = (first + pixel) * job.y_stride + job.channel;
    call.finish(job);
  });
}

void run_part(const Call &call, const Part &part, int64_t row_begin, int64_t row_end) {
  const Plan &plan = call.plan;
  const auto job = table_job<TableJob>(call, part.group, plan.level->flip[plan.gain]);
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
    build_rows(call, part, job, begin + kept, end, call.tables() + kept * plan.row_bytes);
    held_begin = begin;
    held_end = end;
    for (int64_t block = 0; block < plan.lane_blocks; block += plan.level->blocks) {
      run_block(call, part, block, row, last);
    }
  }
}

}  // namespace

int run(const subbyte_conv_lut16 &layer, const Plan &plan, const void *packed, const uint8_t *x,
        const subbyte_output *output, void *y, int64_t row_begin, int64_t row_end, void *scratch) {
  const subbyte_geometry &g = layer.geometry;
  int status = check_header(packed, header_of(layer, *plan.level));
  if (status == SUBBYTE_OK) {
    status = check_rows(row_begin, row_end, g.images * plan.out_height);
  }
  if (status == SUBBYTE_OK) status = check_output(output);
  if (status != SUBBYTE_OK) return status;
  const Call call = {{layer, plan, static_cast<const char *>(packed), x,
                      x + g.images * g.height * g.width * g.inputs, output, y,
                      static_cast<char *>(scratch), finish::kLevels.at(plan.level->name)->run}};
  for (int64_t tap = 0; tap < plan.taps; ++tap) {
    call.tap_offsets()[tap] = tap / g.kernel[1] * g.dilations[0] * plan.row_bytes +
                              tap % g.kernel[1] * g.dilations[1] * plan.pixel_bytes;
  }
  for_parts(
      plan.out_height, g.groups, row_begin, row_end,
      [&](const Part &part, int64_t begin, int64_t end) { run_part(call, part, begin, end); });
  return SUBBYTE_OK;
}

}  // namespace subbyte::conv_lut16
