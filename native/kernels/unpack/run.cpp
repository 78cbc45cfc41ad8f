// A block of outputs: panel after panel of its weights is unpacked, and meets all pixels.
#include <algorithm>
#include <cstring>

#include "error.h"
#include "int8/walk.h"
#include "lookup/select.h"
#include "unpack/plan.h"

namespace subbyte::unpack {
namespace {

using int8::Band;
using int8::Call;
using int8::Cursor;
using int8::kLanes;

// A block of outputs of one group, and its pixels that are computed at a time.
struct Job {
  const Plan &plan;
  const Call &call;
  const Band &band;
  int64_t group, lane_block;
  int blocks;
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
  made.units = plan.units(part, job.blocks);
  made.levels = reinterpret_cast<const int8_t *>(job.call.packed + plan.levels);
  made.weights = job.call.scratch + plan.panel;
  return made;
}

// The first tile of a panel: the one that finds its weights packed.
void accumulate_first(const Job &job, const Panel &part, const Unpack &made,
                      const int8::Tile &tile, int count) {
  const Plan &plan = job.plan;
  const int64_t of_tap = part.steps * job.blocks * kLanes * plan.level->quad;
  const bool whole = plan.channels % plan.level->quad == 0 && of_tap % kUnit == 0;
  const auto choose = plan.unpacker->accumulate;
  const Accumulate accumulate =
      whole && choose != nullptr ? choose(plan.bits, job.blocks, count) : nullptr;
  if (accumulate != nullptr) {
    accumulate(tile, made);
    return;
  }
  plan.unpacker->unpack(made);
  clear_rest(plan, part, job.blocks * kLanes, static_cast<uint8_t *>(made.weights));
  plan.level->accumulate(job.blocks, count)(tile);
}

void finish(const Job &job, const int32_t *sums, int64_t pixel, int count) {
  const Plan &plan = job.plan;
  const int64_t first = job.lane_block * kLanes;
  lookup::Finish end =
      int8::finish_job(job.call, job.band, pixel, job.group * plan.outputs + first);
  end.acc = sums;
  end.acc_stride = job.blocks * kLanes;
  end.pixels = count;
  end.channels =
      static_cast<int>(std::min<int64_t>(job.blocks * kLanes, plan.outputs - first));
  job.call.finish(end);
}

// All pixels of the job on one panel: sums begin with the first one, y is made by the last.
void run_panel(const Job &job, const Panel &part, const Unpack &made, int8::Tile tile,
               bool first, bool last) {
  const Plan &plan = job.plan;
  const int64_t lanes = job.blocks * kLanes;
  const ptrdiff_t offset = part.step * plan.level->quad * plan.level->element;
  const uint8_t *pixels[int8::kMaxPixels] = {};
  tile.pixels = pixels;
  auto *sums = reinterpret_cast<int32_t *>(job.call.scratch + plan.sums);
  Cursor cursor = job.cursor;
  cursor.row += offset;
  int64_t rest = ceil_div(job.count, plan.level->pixels[job.blocks - 1]);
  for (int64_t pixel = 0; pixel < job.count; --rest) {
    const int count = static_cast<int>(ceil_div(job.count - pixel, rest));
    int8::take_pixels(plan, count, &cursor, pixels);
    int32_t *held = sums + pixel * lanes;
    tile.acc = first && !last ? held : job.call.acc();
    if (pixel == 0) {
      accumulate_first(job, part, made, tile, count);
    } else {
      plan.level->accumulate(job.blocks, count)(tile);
    }
    if (!first) plan.unpacker->add(tile.acc, count * lanes, held);
    if (last) finish(job, first ? tile.acc : held, job.pixel + pixel, count);
    pixel += count;
  }
}

void run_pixels(const Job &job, const uint8_t *codes) {
  static constexpr int32_t kZeros[int8::kMaxBlocks * kLanes] = {};
  const Plan &plan = job.plan;
  int8::Tile tile = {};
  tile.weights = job.call.scratch + plan.panel;
  for (int64_t i = 0; i < plan.panels(); ++i) {
    const Panel part = plan.panel_at(i);
    const Unpack made = unpacking(job, part, codes);
    codes += made.units * plan.bits * kVector;
    tile.tap_offsets = job.call.tap_offsets() + part.tap;
    tile.taps = part.taps;
    tile.steps = part.steps;
    tile.start = kZeros;
    if (i == 0) {
      const size_t group = plan.start + static_cast<size_t>(job.group) * plan.start_step;
      tile.start = reinterpret_cast<const int32_t *>(job.call.packed + group) +
                   job.lane_block * kLanes;
    }
    run_panel(job, part, made, tile, i == 0, i + 1 == plan.panels());
  }
}

void run_block(const Call &call, const Band &band, int64_t group, int64_t lane_block) {
  const auto &plan = static_cast<const Plan &>(call.plan);
  const int64_t total = (band.end - band.begin) * plan.out_width;
  const auto *codes = reinterpret_cast<const uint8_t *>(call.packed + plan.weights) +
                      static_cast<size_t>(group) * plan.weights_step +
                      lane_block / plan.level->blocks * plan.block_bytes;
  const uint8_t *x = band.x + group * plan.group_bytes;
  Job job = {plan, call, band, group, lane_block, 0, 0, 0, {}};
  job.blocks = static_cast<int>(
      std::min<int64_t>(plan.level->blocks, plan.lane_blocks - lane_block));
  for (int64_t shares = ceil_div(total, plan.share); shares > 0; --shares) {
    job.count = ceil_div(total - job.pixel, shares);
    job.cursor = {x + job.pixel / plan.out_width * plan.stride[0] * plan.row_bytes,
                  job.pixel % plan.out_width};
    run_pixels(job, codes);
    job.pixel += job.count;
  }
}

}  // namespace

int run(const subbyte_unpack &layer, const Plan &plan, const void *packed, const uint8_t *x,
        const subbyte_output *output, void *y, int64_t row_begin, int64_t row_end,
        void *scratch) {
  const int8::PackedHeader header = header_of(layer, *plan.level);
  if (std::memcmp(&header, packed, sizeof header) != 0) {
    return fail(SUBBYTE_BAD_BUFFER, "packed: expected weights of this layer packed for %s",
                plan.level->name);
  }
  const lookup::Level *finisher = lookup::select_level(plan.level->name);
  if (finisher == nullptr) return SUBBYTE_BAD_ISA;
  const subbyte_int8 tiles = with_int8(layer);
  return int8::walk({tiles, plan, static_cast<const char *>(packed), x, output, y,
                     static_cast<char *>(scratch), finisher->finish, run_block},
                    row_begin, row_end);
}

}  // namespace subbyte::unpack
