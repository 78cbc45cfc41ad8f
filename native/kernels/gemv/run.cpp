// The walk over a layer: its blocks of outputs, and chunks of weights for all rows at once.
#include <algorithm>
#include <cstring>

#include "checks.h"
#include "error.h"
#include "gemv/plan.h"
#include "geometry.h"

namespace subbyte::gemv {
namespace {

struct Call {
  const Plan &plan;
  const char *packed;
  const char *scratch;
  const subbyte_output *output;
  void *y;
};

// Outputs begin to end of a block, rows row to row + count.
struct Part {
  int64_t row, count, begin, end;
};

// Every tile of a chunk of units: what the rows have there stays in the nearest cache.
void add_chunk(const Call &call, const Part &part, int64_t unit, int32_t *acc) {
  const Plan &plan = call.plan;
  Tile tile = {};
  tile.data_stride = static_cast<ptrdiff_t>(plan.data_row);
  tile.units = std::min<int64_t>(kChunk, plan.units - unit);
  tile.levels = reinterpret_cast<const int8_t *>(call.packed + plan.levels);
  const char *data = call.scratch + plan.data + static_cast<size_t>(unit) * plan.unit_data;
  for (int64_t o = part.begin; o < part.end; o += kTile) {
    tile.weights = reinterpret_cast<const uint8_t *>(call.packed + plan.weights) +
                   plan.unit_at(o / kTile, unit);
    for (int64_t row = 0; row < part.count; row += plan.level->rows) {
      const int rows = static_cast<int>(std::min<int64_t>(plan.level->rows, part.count - row));
      tile.data = reinterpret_cast<const uint8_t *>(
          data + static_cast<size_t>(part.row + row) * plan.data_row);
      tile.acc = acc + row * kBlock + o - part.begin;
      plan.accumulate(plan.bits, rows)(tile);
    }
  }
}

void finish(const Call &call, const Part &part, const int32_t *acc) {
  finish::Job job = {};
  job.output = call.output;
  job.acc_stride = kBlock;
  job.pixels = static_cast<int>(part.count);
  job.y_stride = call.plan.outputs;
  job.y = call.y;
  for (int64_t o = part.begin; o < part.end; o += kTile) {
    job.acc = acc + o - part.begin;
    job.channels = static_cast<int>(std::min<int64_t>(kTile, part.end - o));
    job.channel = o;
    job.y_offset = part.row * call.plan.outputs + o;
    call.plan.finish(job);
  }
}

void run_part(const Call &call, const Part &part) {
  alignas(SUBBYTE_ALIGNMENT) int32_t acc[kRows * kBlock];
  const auto *start = reinterpret_cast<const int32_t *>(call.packed + call.plan.start);
  const int64_t sums = ceil_div(part.end - part.begin, kTile) * kTile;
  for (int64_t row = 0; row < part.count; ++row) {
    std::copy_n(start + part.begin, sums, acc + row * kBlock);
  }
  for (int64_t unit = 0; unit < call.plan.units; unit += kChunk) {
    add_chunk(call, part, unit, acc);
  }
  finish(call, part, acc);
}

int check_outputs(const Plan &plan, int64_t begin, int64_t end) {
  const bool whole = begin % kTile == 0 && (end % kTile == 0 || end == plan.outputs);
  if (begin >= 0 && begin <= end && end <= plan.outputs && whole) return SUBBYTE_OK;
  return fail(SUBBYTE_BAD_SHAPE, "outputs: expected blocks of %d of 0 to %lld, got %lld to %lld",
              kTile, static_cast<long long>(plan.outputs), static_cast<long long>(begin),
              static_cast<long long>(end));
}

}  // namespace

void build_tables(const subbyte_gemv_lut16 &layer, const Plan &plan, const void *packed,
                  const uint8_t *x, void *scratch) {
  auto *base = static_cast<uint8_t *>(scratch);
  // The build stage reads whole units of words.
  for (int64_t row = 0; row < plan.rows; ++row) {
    uint8_t *to = base + static_cast<size_t>(row) * plan.staging_row;
    std::memcpy(to, x + row * plan.inputs, static_cast<size_t>(plan.inputs));
    std::memset(to + plan.inputs, 0, plan.staging_row - static_cast<size_t>(plan.inputs));
  }
  const auto *from = static_cast<const char *>(packed);
  conv_lut16::TableJob job = {};
  job.x = base + plan.staging;
  job.x_stride = static_cast<ptrdiff_t>(plan.staging_row);
  job.count = plan.rows;
  job.codebook = reinterpret_cast<const int8_t *>(from + plan.codebook);
  job.start = reinterpret_cast<const int16_t *>(from + plan.word_start);
  job.vectors = plan.units * kVectors;
  job.word_length = plan.word_length;
  job.chunks = plan.chunks;
  job.shift = layer.shift;
  job.flip = plan.tables->flip[plan.bits > 0] ? 0x80 : 0;
  job.tables = base + plan.data;
  job.table_stride = static_cast<ptrdiff_t>(plan.data_row);
  plan.tables->build(job);
}

void stage_inputs(const Plan &plan, const uint8_t *x, void *scratch) {
  auto *to = static_cast<uint8_t *>(scratch) + plan.data;
  for (int64_t row = 0; row < plan.rows; ++row, to += plan.data_row) {
    std::memcpy(to, x + row * plan.inputs, static_cast<size_t>(plan.inputs));
    std::memset(to + plan.inputs, 0, plan.data_row - static_cast<size_t>(plan.inputs));
  }
}

int run(const Plan &plan, const void *packed, const void *scratch, const subbyte_output *output,
        void *y, int64_t output_begin, int64_t output_end) {
  int status = check_outputs(plan, output_begin, output_end);
  if (status == SUBBYTE_OK) status = check_output(output);
  if (status != SUBBYTE_OK) return status;
  const Call call = {plan, static_cast<const char *>(packed), static_cast<const char *>(scratch),
                     output, y};
  for (int64_t o = output_begin, end = 0; o < output_end; o = end) {
    end = std::min((o / kBlock + 1) * kBlock, output_end);
    for (int64_t row = 0; row < plan.rows; row += kRows) {
      run_part(call, {row, std::min<int64_t>(kRows, plan.rows - row), o, end});
    }
  }
  return SUBBYTE_OK;
}

}  // namespace subbyte::gemv
