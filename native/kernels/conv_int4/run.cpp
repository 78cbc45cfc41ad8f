// A block of outputs: panel after panel of its weights is unpacked, and meets all pixels.
#include <algorithm>
#include <cstring>

#include "checks.h"
#include "conv_int4/plan.h"
#include "conv_int8/walk.h"
#include "finish/levels.h"

namespace subbyte::conv_int4 {
namespace {

using conv_int8::Band;
using conv_int8::Block;
using conv_int8::Call;
using conv_int8::kLanes;

// A block of outputs, and its pixels that are computed at a time.
struct Job {
  const Plan &plan;
  const Call &call;
  const Band &band;
  const Block &block;
  int64_t pixel, count;  // of the band
  Cursor cursor;         // at the first of them
};

// Channels that fill up the last step of a tap meet whatever lies behind a pixel's own.
void clear_rest(const Plan &plan, const Panel &part, int64_t lanes, uint8_t *weights) {
  const int64_t rest = plan.channels % plan.level->quad;
  if (rest == 0 || part.step + part.steps < plan.steps) return;
  const auto weight = static_cast<size_t>(plan.level->element);
  const auto quad = static_cast<size_t>(plan.level->quad);
  for (int64_t tap = 1; tap <= part.taps; ++tap) {
    uint8_t *lane = weights + static_cast<size_t>((tap * part.steps - 1) * lanes) * quad * weight;
    for (int64_t o = 0; o < lanes; ++o, lane += quad * weight) {
      const size_t kept = static_cast<size_t>(rest) * weight;
      std::memset(lane + kept, 0, quad * weight - kept);
    }
  }
}

// The codes of a panel, and where its weights go.
Unpack unpacking(const Job &job, const Panel &part, const uint8_t *codes) {
  const Plan &plan = job.plan;
  Unpack made = {};
  made.codes = codes;
  made.bits = plan.bits;
  made.element = plan.level->element;
  made.units = plan.units(part, job.block.count);
  made.levels = reinterpret_cast<const int8_t *>(job.call.packed + plan.levels);
  made.weights = job.call.scratch + plan.panel;
  return made;
}

// The first tile of a panel: the one that finds its weights packed.
void accumulate_first(const Job &job, const Panel &part, const Unpack &made,
                      const conv_int8::Tile &tile, int count) {
  const Plan &plan = job.plan;
  const int64_t of_tap = part.steps * job.block.count * kLanes * plan.level->quad;
  const bool whole = plan.channels % plan.level->quad == 0 && of_tap % kUnit == 0;
  const auto choose = plan.unpacker->accumulate;
  const Accumulate accumulate =
      whole && choose != nullptr ? choose(plan.bits, job.block.count, count) : nullptr;
  if (accumulate != nullptr) {
    accumulate(tile, made);
    return;
  }
  plan.unpacker->unpack(made);
  clear_rest(plan, part, job.block.count * kLanes, static_cast<uint8_t *>(made.weights));
  plan.level->accumulate(job.block.count, count)(tile);
}

// All pixels of the job on one panel: sums begin with the first one, y is made by the last.
void run_panel(const Job &job, const Panel &part, const Unpack &made, conv_int8::Tile tile,
               bool first, bool last) {
  const Plan &plan = job.plan;
  const int64_t lanes = job.block.count * kLanes;
  const ptrdiff_t offset = part.step * plan.level->quad * plan.level->element;
  const uint8_t *pixels[conv_int8::kMaxPixels] = {};
  tile.pixels = pixels;
  auto *sums = reinterpret_cast<int32_t *>(job.call.scratch + plan.sums);
  const Cursor cursor = {job.cursor.row + offset, job.cursor.column};
  const int most = plan.level->pixels[job.block.count - 1];
  for_tiles(plan, cursor, job.count, most, pixels, [&](int64_t pixel, int count) {
    int32_t *held = sums + pixel * lanes;
    tile.acc = first && !last ? held : job.call.acc();
    if (pixel == 0) {
      accumulate_first(job, part, made, tile, count);
    } else {
      plan.level->accumulate(job.block.count, count)(tile);
    }
    if (!first) plan.unpacker->add(tile.acc, count * lanes, held);
    if (last) {
      conv_int8::finish_tile(job.call, job.band, job.block, first ? tile.acc : held,
                             job.pixel + pixel, count);
    }
  });
}

void run_pixels(const Job &job, const uint8_t *codes) {
  static constexpr int32_t kZeros[conv_int8::kMaxBlocks * kLanes] = {};
  const Plan &plan = job.plan;
  conv_int8::Tile tile = {};
  tile.weights = job.call.scratch + plan.panel;
  for (int64_t i = 0; i < plan.panels(); ++i) {
    const Panel part = plan.panel_at(i);
    const Unpack made = unpacking(job, part, codes);
    codes += made.units * plan.bits * kVector;
    tile.tap_offsets = job.call.tap_offsets() + part.tap;
    tile.taps = part.taps;
    tile.steps = part.steps;
    tile.start = i == 0 ? job.call.start(job.block) : kZeros;
    run_panel(job, part, made, tile, i == 0, i + 1 == plan.panels());
  }
}

void run_block(const Call &call, const Band &band, const Block &block) {
  const auto &plan = static_cast<const Plan &>(call.plan);
  const int64_t total = (band.end - band.begin) * plan.out_width;
  const auto *codes = reinterpret_cast<const uint8_t *>(call.packed + plan.weights) +
                      static_cast<size_t>(block.group) * plan.weights_step +
                      block.first / plan.level->blocks * plan.block_bytes;
  const uint8_t *x = band.x + block.group * plan.group_bytes;
  Job job = {plan, call, band, block, 0, 0, {}};
  for (int64_t shares = ceil_div(total, plan.share); shares > 0; --shares) {
    job.count = ceil_div(total - job.pixel, shares);
    job.cursor = {x + job.pixel / plan.out_width * plan.stride[0] * plan.row_bytes,
                  job.pixel % plan.out_width};
    run_pixels(job, codes);
    job.pixel += job.count;
  }
}

}  // namespace

int run(const subbyte_conv_int4 &layer, const Plan &plan, const void *packed, const uint8_t *x,
        const subbyte_output *output, void *y, int64_t row_begin, int64_t row_end, void *scratch) {
  const int status = check_header(packed, header_of(layer, *plan.level));
  if (status != SUBBYTE_OK) return status;
  const subbyte_conv_int8 tiles = with_int8(layer);
  return conv_int8::walk(
      {tiles, plan, static_cast<const char *>(packed), x, output, y, static_cast<char *>(scratch),
       finish::kLevels.at(plan.level->name)->run, run_block},
      row_begin, row_end);
}

}  // namespace subbyte::conv_int4
