// The loops of every level, compiled with each level's flags. Everything is in an unnamed
// namespace: no other file's copy can take its place (isa/sets.h.in).
#pragma once

#include "elementwise/level.h"

namespace subbyte::elementwise {
namespace {

// Rounds half to even by adding 1.5 * 2^23, which leaves no fraction bits: exact within 2^22,
// and the values are clamped to a few hundred first. NaN becomes the least code.
inline uint8_t quantize(float value, int32_t zero) {
  const float magic = 12582912.0F;
  const auto low = static_cast<float>(-zero), high = static_cast<float>(255 - zero);
  value = value > low ? value : low;
  value = value < high ? value : high;
  value = (value + magic) - magic;
  return static_cast<uint8_t>(static_cast<int32_t>(value) + zero);
}

template <bool kMul>
inline uint8_t combine(const Rows &row, uint8_t x, uint8_t r) {
  const auto a = static_cast<float>(x - row.x_zero), b = static_cast<float>(r - row.r_zero);
  if (kMul) return quantize(a * b * row.x_factor, row.y_zero);
  const float first = a * row.x_factor, second = b * row.r_factor;
  return quantize(first + second, row.y_zero);
}

// One row, the first.
template <bool kMul>
void pairwise_row(const Rows &job) {
  const Rows row = job;  // y may be any bytes, but not these
  const int64_t count = row.count;
  if (row.x_step == 1 && row.r_step == 1) {
    for (int64_t i = 0; i < count; ++i) row.y[i] = combine<kMul>(row, row.x[i], row.r[i]);
  } else if (row.x_step == 1 && row.r_step == 0) {
    const uint8_t r = row.r[0];
    for (int64_t i = 0; i < count; ++i) row.y[i] = combine<kMul>(row, row.x[i], r);
  } else {
    for (int64_t i = 0; i < count; ++i) {
      row.y[i] = combine<kMul>(row, row.x[i * row.x_step], row.r[i * row.r_step]);
    }
  }
}

template <void (*kRow)(const Rows &)>
void by_rows(const Rows &job) {
  Rows row = job;
  for (int64_t left = job.rows; left > 0; --left) {
    kRow(row);
    row.x += row.x_row;
    row.r += row.r_row;
    row.y += row.count;
  }
}

template <bool kMul>
void pairwise(const Rows &job) {
  by_rows<pairwise_row<kMul>>(job);
}

// kChannels: a number of channels that the compiler knows, or 0 for any.
template <int kChannels>
void max_of(const Window &job) {
  const int channels = kChannels > 0 ? kChannels : job.channels;
  for (int64_t window = 0; window < job.count; ++window) {
    const uint8_t *first = job.x + window * job.x_step;
    uint8_t best[kChunk] = {};
    for (int64_t row = 0; row < job.rows; ++row) {
      const uint8_t *x = first + row * job.row_stride;
      for (int64_t column = 0; column < job.columns; ++column, x += job.column_stride) {
        for (int c = 0; c < channels; ++c) best[c] = x[c] > best[c] ? x[c] : best[c];
      }
    }
    uint8_t *y = job.y + window * job.y_step;
    for (int c = 0; c < channels; ++c) y[c] = best[c];
  }
}

template <int kChannels>
void average_of(const Window &job) {
  const int channels = kChannels > 0 ? kChannels : job.channels;
  for (int64_t window = 0; window < job.count; ++window) {
    const uint8_t *first = job.x + window * job.x_step;
    int32_t sums[kChunk] = {};
    for (int64_t row = 0; row < job.rows; ++row) {
      const uint8_t *x = first + row * job.row_stride;
      for (int64_t column = 0; column < job.columns; ++column, x += job.column_stride) {
        for (int c = 0; c < channels; ++c) sums[c] += x[c] - job.x_zero;
      }
    }
    uint8_t *y = job.y + window * job.y_step;
    for (int c = 0; c < channels; ++c) {
      y[c] = quantize(static_cast<float>(sums[c]) * job.factor, job.y_zero);
    }
  }
}

inline void map_codes(const uint8_t *table, const uint8_t *x, int64_t count, uint8_t *y) {
  for (int64_t i = 0; i < count; ++i) y[i] = table[x[i]];
}

// kGroups: a number of groups that the compiler knows, or 0 for any.
template <int kGroups>
void shuffle_of(const Shuffle &job) {
  const int64_t groups = kGroups > 0 ? kGroups : job.groups, each = job.each;
  const uint8_t *x = job.x;
  uint8_t *y = job.y;
  for (int64_t left = job.pixels; left > 0; --left, x += groups * each, y += groups * each) {
    for (int64_t j = 0; j < each; ++j) {
      for (int64_t g = 0; g < groups; ++g) y[j * groups + g] = x[g * each + j];
    }
  }
}

inline void shuffle(const Shuffle &job) {
  switch (job.groups) {
    case 2:
      return shuffle_of<2>(job);
    case 3:
      return shuffle_of<3>(job);
    case 4:
      return shuffle_of<4>(job);
    default:
      return shuffle_of<0>(job);
  }
}

using Stage = void (*)(const Window &);

// The loop for a chunk of channels: those of elementwise/run.cpp are 64, 32 or 16, and one of the rest.
inline void by_channels(const Window &job, Stage of_64, Stage of_32, Stage of_16, Stage of_any) {
  switch (job.channels) {
    case 64:
      return of_64(job);
    case 32:
      return of_32(job);
    case 16:
      return of_16(job);
    default:
      return of_any(job);
  }
}

inline void max_window(const Window &job) {
  by_channels(job, max_of<64>, max_of<32>, max_of<16>, max_of<0>);
}

inline void average_window(const Window &job) {
  by_channels(job, average_of<64>, average_of<32>, average_of<16>, average_of<0>);
}

}  // namespace
}  // namespace subbyte::elementwise
