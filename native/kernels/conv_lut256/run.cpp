// The walk over a layer: tables of a band of rows, then all its output tiles.
#include "checks.h"
#include "conv_lut256/plan.h"
#include "error.h"
#include "finish/levels.h"
#include "table_rows.h"
#include "tiles.h"

namespace subbyte::conv_lut256 {
namespace {

struct Call : TableCall<subbyte_conv_lut256, Plan> {
  ptrdiff_t *offsets() const { return reinterpret_cast<ptrdiff_t *>(scratch + plan.offsets); }
};

// Sums to y: as many channels of each pixel at a time as the last stage takes.
void finish_tile(const Call &call, const Tile &tile, int pixels, int lanes, int channels,
                 int64_t pixel, int64_t channel) {
  finish::Job job = {};
  job.output = call.output;
  job.acc_stride = lanes;
  job.pixels = pixels;
  job.y_stride = call.layer.geometry.outputs;
  job.y = call.y;
  for (int first = 0; first < channels; first += kMaxLanes) {
    job.acc = tile.acc + first;
    job.channels = std::min(channels - first, kMaxLanes);
    job.channel = channel + first;
    job.y_offset = pixel * job.y_stride + job.channel;
    call.finish(job);
  }
}

// What the tiles of a few cells of outputs have in common.
Tile tile_of(const Call &call, int64_t group, int64_t cell) {
  const Plan &plan = call.plan;
  const auto at = static_cast<size_t>(group);
  const size_t codes =
      at * plan.codes_step + static_cast<size_t>(cell * plan.steps * plan.cell_bytes);
  Tile tile = {};
  tile.offsets = call.offsets();
  tile.steps = plan.steps;
  tile.words = plan.words;
  tile.codes = reinterpret_cast<const uint8_t *>(call.packed + plan.codes + codes);
  tile.gains = reinterpret_cast<const int8_t *>(call.packed + plan.gains + codes);
  tile.start =
      reinterpret_cast<const int32_t *>(call.packed + plan.sums + at * plan.sums_step) +
      cell * plan.level->lanes;
  return tile;
}

// All tiles of a few cells of outputs over a band: the codes stay in the nearest cache.
void run_cells(const Call &call, const Part &part, int64_t cell, int cells, int64_t row_begin,
               int64_t row_end) {
  const Plan &plan = call.plan;
  const Level &level = *plan.level;
  // The last stage may read kMaxLanes sums from any cell of any pixel.
  alignas(SUBBYTE_ALIGNMENT) int32_t acc[(kMaxPixels * kMaxCells + 1) * kMaxLanes];
  const uint8_t *starts[kMaxPixels] = {};
  Tile tile = tile_of(call, part.group, cell);
  tile.tables = starts;
  tile.acc = acc;
  const int channels = static_cast<int>(
      std::min<int64_t>(cells * level.lanes, plan.outputs - cell * level.lanes));
  const int64_t first_pixel = (part.image * plan.out_height + row_begin) * plan.out_width;
  const int most = level.most_pixels(plan.words, plan.gain, cells);
  const int64_t total = (row_end - row_begin) * plan.out_width;
  for_tiles(plan, {call.tables(), 0}, total, most, starts, [&](int64_t pixel, int count) {
    level.accumulate(plan.words, plan.gain, cells, count)(tile);
    finish_tile(call, tile, count, cells * level.lanes, channels, first_pixel + pixel,
                part.group * plan.outputs + cell * level.lanes);
  });
}

// Where the table of a tap and vector lies, seen from the pixel's table at input row `row`.
void set_offsets(const Call &call, int64_t row) {
  const Plan &plan = call.plan;
  for (int64_t tap = 0; tap < plan.taps; ++tap) {
    const int64_t down = tap / plan.kernel_width * call.layer.geometry.dilations[0];
    const int64_t right = tap % plan.kernel_width * call.layer.geometry.dilations[1];
    const int64_t place = plan.ring ? (row + down) % plan.reach : down;
    const auto pixel =
        static_cast<ptrdiff_t>(place * plan.row_bytes + right * plan.pixel_bytes);
    for (int64_t vector = 0; vector < plan.vectors; ++vector) {
      call.offsets()[step_of(plan, tap, vector)] = pixel + vector * plan.table_bytes;
    }
  }
}

// The tables that output rows row_begin <= row < row_end need, those of rows below `held`
// being there.
void build_band(const Call &call, const Part &part, int64_t row_begin, int64_t row_end,
                int64_t held) {
  const Plan &plan = call.plan;
  const int64_t begin = row_begin * plan.stride[0];
  const int64_t end = (row_end - 1) * plan.stride[0] + plan.reach;
  auto job = table_job<TableJob>(call, part.group, plan.level->flip);
  job.words = plan.words;
  if (!plan.ring) return build_rows(call, part, job, begin, end, call.tables());
  for (int64_t row = std::max(begin, held); row < end; ++row) {
    build_rows(call, part, job, row, row + 1,
               call.tables() + row % plan.reach * plan.row_bytes);
  }
}

void run_band(const Call &call, const Part &part, int64_t cell_begin, int64_t cell_end,
              int64_t row_begin, int64_t row_end) {
  const int64_t most = call.plan.level->most_cells(call.plan.words, call.plan.gain);
  for (int64_t cell = cell_begin; cell < cell_end; cell += most) {
    const auto cells = static_cast<int>(std::min(cell_end - cell, most));
    run_cells(call, part, cell, cells, row_begin, row_end);
  }
}

void run_part(const Call &call, const Part &part, int64_t row_begin, int64_t row_end) {
  const Plan &plan = call.plan;
  int64_t held = 0;
  for (int64_t row = row_begin; row < row_end; row += plan.band) {
    const int64_t last = std::min(row + plan.band, row_end);
    build_band(call, part, row, last, held);
    held = (last - 1) * plan.stride[0] + plan.reach;
    set_offsets(call, row * plan.stride[0]);
    run_band(call, part, 0, plan.cells, row, last);
  }
}

int check_packed(const subbyte_conv_lut256 &layer, const Plan &plan, const void *packed) {
  return check_header(packed, header_of(layer, *plan.level));
}

// A GEMM whose tables are all held at once, as those of one tile are.
static_assert(SUBBYTE_CONV_LUT256_ROWS <= kMaxPixels, "a band holds these rows");

int check_few_rows(const subbyte_conv_lut256 &l, const Plan &plan) {
  const subbyte_geometry &g = l.geometry;
  const bool plain = g.images == 1 && g.width == 1 && plan.out_width == 1 && g.groups == 1 &&
                     plan.taps == 1 && plan.out_height == g.height;
  if (plain && g.height <= SUBBYTE_CONV_LUT256_ROWS) return SUBBYTE_OK;
  return fail(SUBBYTE_BAD_SHAPE, "layer: expected a GEMM of at most %d rows, got others",
              SUBBYTE_CONV_LUT256_ROWS);
}

}  // namespace

int run(const subbyte_conv_lut256 &layer, const Plan &plan, const void *packed, const uint8_t *x,
        const subbyte_output *output, void *y, int64_t row_begin, int64_t row_end, void *scratch) {
  const subbyte_geometry &g = layer.geometry;
  int status = check_packed(layer, plan, packed);
  if (status == SUBBYTE_OK) {
    status = check_rows(row_begin, row_end, g.images * plan.out_height);
  }
  if (status == SUBBYTE_OK) status = check_output(output);
  if (status != SUBBYTE_OK) return status;
  const Call call = {{layer, plan, static_cast<const char *>(packed), x,
                      x + g.images * g.height * g.width * g.inputs, output, y,
                      static_cast<char *>(scratch), finish::kLevels.at(plan.level->name)->run}};
  for_parts(
      plan.out_height, g.groups, row_begin, row_end,
      [&](const Part &part, int64_t begin, int64_t end) { run_part(call, part, begin, end); });
  return SUBBYTE_OK;
}

int prepare(const subbyte_conv_lut256 &layer, const Plan &plan, const void *packed,
            const uint8_t *x, void *scratch) {
  const subbyte_geometry &g = layer.geometry;
  int status = check_packed(layer, plan, packed);
  if (status == SUBBYTE_OK) status = check_few_rows(layer, plan);
  if (status != SUBBYTE_OK) return status;
  const Call call = {{layer, plan, static_cast<const char *>(packed), x, x + g.height * g.inputs,
                      nullptr, nullptr, static_cast<char *>(scratch), nullptr}};
  build_band(call, {0, 0}, 0, g.height, 0);
  set_offsets(call, 0);
  return SUBBYTE_OK;
}

int run_outputs(const subbyte_conv_lut256 &layer, const Plan &plan, const void *packed,
                const void *scratch, const subbyte_output *output, void *y, int64_t output_begin,
                int64_t output_end) {
  const subbyte_geometry &g = layer.geometry;
  int status = check_packed(layer, plan, packed);
  if (status == SUBBYTE_OK) status = check_few_rows(layer, plan);
  if (status == SUBBYTE_OK) status = check_output(output);
  if (status != SUBBYTE_OK) return status;
  const bool whole = output_begin % SUBBYTE_CONV_LUT256_BLOCK == 0 &&
                     (output_end % SUBBYTE_CONV_LUT256_BLOCK == 0 || output_end == g.outputs);
  if (output_begin < 0 || output_begin > output_end || output_end > g.outputs || !whole) {
    return fail(SUBBYTE_BAD_SHAPE, "outputs: expected blocks of %d of 0 to %lld, got %lld to %lld",
                SUBBYTE_CONV_LUT256_BLOCK, static_cast<long long>(g.outputs),
                static_cast<long long>(output_begin), static_cast<long long>(output_end));
  }
  // What is in the scratch buffer is only read from here on.
  const Call call = {{layer, plan, static_cast<const char *>(packed), nullptr, nullptr, output, y,
                      const_cast<char *>(static_cast<const char *>(scratch)),
                      finish::kLevels.at(plan.level->name)->run}};
  const int64_t lanes = plan.level->lanes;
  run_band(call, {0, 0}, output_begin / lanes, ceil_div(output_end, lanes), 0, g.height);
  return SUBBYTE_OK;
}

}  // namespace subbyte::conv_lut256
