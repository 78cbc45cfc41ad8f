// The tables of rows of pixels, as look-ups of 16 words and of more build them. `Call` is that of
// a run.cpp: its layer, plan and buffers.
//
// Included by files that are compiled for every CPU alone: isa/sets.h.in says why.
#pragma once

#include <algorithm>
#include <cstring>

#include "finish/level.h"
#include "subbyte/subbyte.h"
#include "tiles.h"

namespace subbyte {

// What one call of run is given.
template <typename Layer, typename Plan>
struct TableCall {
  const Layer &layer;
  const Plan &plan;
  const char *packed;
  const uint8_t *x, *x_end;
  const subbyte_output *output;
  void *y;
  char *scratch;
  finish::Run finish;

  uint8_t *tables() const { return reinterpret_cast<uint8_t *>(scratch + plan.tables); }
};

// Tables of `count` pixels in a row. The build stage reads whole vectors of words, so at the
// tensor's end, where that would be beyond it, pixels go through a copy filled with zeros.
template <typename Call, typename Job>
void build_run(const Call &call, Job job, const uint8_t *x, int64_t count, uint8_t *tables) {
  const auto &plan = call.plan;
  job.x = x;
  job.tables = tables;
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

// What the tables of a group have in common. The entry of x = input_zero is
// rounding_half >> shift = 0 for every word, `flip` where entries are stored unsigned.
template <typename Job, typename Call>
Job table_job(const Call &call, int64_t group, bool flip) {
  const auto &plan = call.plan;
  const auto at = static_cast<size_t>(group);
  Job job = {};
  job.x_stride = static_cast<ptrdiff_t>(plan.column_step * call.layer.geometry.inputs);
  job.codebook =
      reinterpret_cast<const int8_t *>(call.packed + plan.codebook + at * plan.codebook_step);
  job.start = reinterpret_cast<const int16_t *>(call.packed + plan.start + at * plan.start_step);
  job.vectors = plan.vectors;
  job.word_length = plan.word_length;
  job.chunks = plan.chunks;
  job.shift = call.layer.shift;
  job.flip = flip ? 0x80 : 0;
  job.table_stride = plan.pixel_bytes;
  return job;
}

// Tables of the padded rows begin <= row < end, the first of them at `tables`.
template <typename Call, typename Job>
void build_rows(const Call &call, const Part &part, const Job &job, int64_t begin, int64_t end,
                uint8_t *tables) {
  const auto &plan = call.plan;
  const subbyte_geometry &l = call.layer.geometry;
  const ptrdiff_t row_stride = static_cast<ptrdiff_t>(plan.row_step * l.width * l.inputs);
  const uint8_t *image =
      call.x + part.image * l.height * l.width * l.inputs + part.group * plan.channels;
  const auto left = static_cast<size_t>(l.pads[1] * plan.pixel_bytes);
  const auto right = static_cast<size_t>(l.pads[3] * plan.pixel_bytes);
  const bool contiguous =
      left + right == 0 && row_stride == plan.columns * plan.column_step * l.inputs;
  for (int64_t row = begin; row < end; ++row, tables += plan.row_bytes) {
    const int64_t y = row - l.pads[0];
    if (y < 0 || y >= plan.rows) {
      std::memset(tables, job.flip, static_cast<size_t>(plan.row_bytes));
      continue;
    }
    const uint8_t *x = image + y * row_stride;
    if (contiguous) {
      const int64_t together = std::min(end - row, plan.rows - y);
      build_run(call, job, x, together * plan.columns, tables);
      row += together - 1;
      tables += (together - 1) * plan.row_bytes;
      continue;
    }
    std::memset(tables, job.flip, left);
    build_run(call, job, x, plan.columns, tables + left);
    std::memset(tables + plan.row_bytes - static_cast<ptrdiff_t>(right), job.flip, right);
  }
}

}  // namespace subbyte
