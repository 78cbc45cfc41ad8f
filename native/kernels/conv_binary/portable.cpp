// Binary kernels for any CPU: words of 64 channels, in loops that compilers vectorise.
#include <cstring>

#include "conv_binary/level.h"

namespace subbyte::conv_binary {
namespace {

constexpr int kLanes = 8;

int word_bit(int o, int i) { return o * kWord + i; }

float magnitude(float v) { return v < 0 ? 0 - v : v; }

// l += l + 8, then 4, 2 and 1 apart.
float total(const float partial[kPartials]) {
  float eight[8], four[4];
  for (int l = 0; l < 8; ++l) eight[l] = partial[l] + partial[l + 8];
  for (int l = 0; l < 4; ++l) four[l] = eight[l] + eight[l + 4];
  return (four[0] + four[2]) + (four[1] + four[3]);
}

void to_float(const Load &job, int64_t pixel, float *values) {
  if (job.bytes) {
    const auto *x = static_cast<const uint8_t *>(job.x) + pixel * job.x_step;
    const int32_t zero = job.zero;
    for (int64_t i = 0; i < job.channels; ++i) values[i] = static_cast<float>(x[i] - zero);
  } else {
    const auto *x = static_cast<const float *>(job.x) + pixel * job.x_step;
    for (int64_t i = 0; i < job.channels; ++i) values[i] = x[i] + 0.0F;
  }
  for (int64_t i = job.channels; i < job.depth; ++i) values[i] = 0;
}

void load(const Load &job) {
  for (int64_t pixel = 0; pixel < job.count; ++pixel) {
    float *values = job.values + pixel * job.depth;
    to_float(job, pixel, values);
    float partial[kPartials] = {};
    for (int64_t i = 0; i < job.depth; i += kPartials) {
      for (int l = 0; l < kPartials; ++l) partial[l] += magnitude(values[i + l]);
    }
    job.sums[pixel] = total(partial);
  }
}

// Signs of kPartials values of which `valid` exist, as a little-endian 16-bit word.
void put_signs(const float *r, int64_t valid, uint8_t *to) {
  uint32_t bits = 0;
  for (int l = 0; l < kPartials; ++l) bits |= static_cast<uint32_t>(r[l] < 0) << l;
  if (valid < kPartials) bits &= (1U << valid) - 1;
  to[0] = static_cast<uint8_t>(bits);
  to[1] = static_cast<uint8_t>(bits >> 8);
}

void clear_rest(const Binarize &job, uint8_t *signs) {
  const int64_t from = job.depth / 8, to = (job.channels + kWord - 1) / kWord * kWord / 8;
  for (int64_t i = from; i < to; ++i) signs[i] = 0;
}

// The first order, which needs no sum.
void first_order(const Binarize &job, const float *values, uint8_t *signs) {
  for (int64_t tap = 0; tap < job.taps; ++tap, signs += job.tap_bytes) {
    const float *v = values + job.offsets[tap];
    for (int64_t i = 0; i < job.depth; i += kPartials) {
      put_signs(v + i, job.channels - i, signs + i / 8);
    }
    clear_rest(job, signs);
  }
}

// The residual after `order` orders, its signs and the sum of its |values|.
float next_order(const Binarize &job, const float *values, int order, float beta,
                 uint8_t *signs) {
  float partial[kPartials] = {};
  for (int64_t tap = 0; tap < job.taps; ++tap, signs += job.tap_bytes) {
    float *to = job.residual + tap * job.depth;
    const float *from = order == 1 ? values + job.offsets[tap] : to;
    for (int64_t i = 0; i < job.depth; i += kPartials) {
      const int64_t valid = job.channels - i;
      float r[kPartials];
      for (int l = 0; l < kPartials; ++l) {
        const float v = from[i + l];
        r[l] = v < 0 ? v + beta : v - beta;
      }
      for (int l = 0; l < kPartials; ++l) partial[l] += l < valid ? magnitude(r[l]) : 0;
      put_signs(r, valid, signs + i / 8);
      std::memcpy(to + i, r, sizeof r);
    }
    clear_rest(job, signs);
  }
  return total(partial);
}

void binarize(const Binarize &job) {
  for (int64_t vector = 0; vector < job.count; ++vector) {
    const float *values = job.values + vector * job.step;
    uint8_t *signs = job.signs + vector * job.vector_bytes;
    first_order(job, values, signs);
    for (int k = 1; k < job.order; ++k) {
      float *sum = job.sums + k * job.sums_step + vector;
      const float beta =
          job.scales != nullptr ? job.scales[k - 1] : *(sum - job.sums_step) / job.size;
      *sum = next_order(job, values, k, beta, signs + k * job.order_bytes);
    }
  }
}

// The number of ones, by adding neighbours of 1, 2 and 4 bits, then all bytes.
uint64_t bits_of(uint64_t word) {
  word -= word >> 1 & 0x5555555555555555;
  word = (word & 0x3333333333333333) + (word >> 2 & 0x3333333333333333);
  word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0f;
  word += word >> 8;
  word += word >> 16;
  return (word + (word >> 32)) & 0x7f;
}

// One word: sizes of `valid` channels, their signs, and their sum.
int32_t load_word(const uint8_t *x, int64_t valid, int32_t zero, uint8_t *sizes,
                  uint8_t *signs) {
  uint64_t word = 0;
  int32_t sum = 0;
  for (int i = 0; i < kWord; ++i) {
    const int32_t value = i < valid ? x[i] - zero : 0;
    const int32_t size = value < 0 ? -value : value;
    word |= static_cast<uint64_t>(value < 0) << i;
    sizes[i] = static_cast<uint8_t>(size);
    sum += size;
  }
  std::memcpy(signs, &word, sizeof word);
  return sum;
}

void load_bytes(const LoadBytes &job) {
  for (int64_t pixel = 0; pixel < job.count; ++pixel) {
    const uint8_t *x = job.x + pixel * job.x_step;
    uint8_t *signs = job.signs + pixel * job.signs_step;
    int64_t sum = 0;
    for (int64_t i = 0; i < job.channels; i += kWord) {
      uint8_t unused[kWord];
      uint8_t *sizes = job.sizes == nullptr ? unused : job.sizes + pixel * job.sizes_step + i;
      sum += load_word(x + i, job.channels - i, job.zero, sizes, signs + i / 8);
    }
    job.sums[pixel] = static_cast<float>(sum);
  }
}

// What one vector has above beta, and the signs of one word's residual.
struct Split {
  int32_t whole;  // floor(beta)
  bool exact;     // beta is that
  int64_t excess, above;

  uint64_t add(const uint8_t *sizes, uint64_t negative) {
    uint64_t over = 0, reached = 0;
    int32_t sum = 0;
    for (int i = 0; i < kWord; ++i) {
      const int32_t beyond = sizes[i] - whole;
      sum += beyond > 0 ? beyond : 0;
      over |= static_cast<uint64_t>(beyond > 0) << i;
      reached |= static_cast<uint64_t>(beyond > 0 || (exact && beyond == 0)) << i;
    }
    excess += sum;
    above += static_cast<int64_t>(bits_of(over));
    return (negative & over) | (~negative & ~reached);
  }
};

void split_bytes(const SplitBytes &job) {
  for (int64_t vector = 0; vector < job.count; ++vector) {
    const float beta = job.betas[vector];
    const auto whole = static_cast<int32_t>(beta);
    Split split = {whole, static_cast<float>(whole) == beta, 0, 0};
    for (int64_t tap = 0; tap < job.taps; ++tap) {
      const ptrdiff_t at = vector * job.step + job.offsets[tap];
      uint8_t *signs = job.signs + vector * job.vector_bytes + tap * job.tap_bytes;
      for (int64_t i = 0; i < job.channels; i += kWord) {
        uint64_t first;
        std::memcpy(&first, job.first_signs + at + i / 8, sizeof first);
        uint64_t second = split.add(job.sizes + at + i, first);
        if (job.channels - i < kWord) second &= (uint64_t{1} << (job.channels - i)) - 1;
        std::memcpy(signs + i / 8, &first, sizeof first);
        std::memcpy(signs + job.order_bytes + i / 8, &second, sizeof second);
      }
    }
    job.excess[vector] = split.excess;
    job.above[vector] = split.above;
  }
}

void accumulate(const Tile &tile) {
  uint64_t count[kLanes] = {};
  for (int64_t step = 0; step < tile.steps; ++step) {
    uint64_t x, w[kLanes];
    std::memcpy(&x, tile.rows[0] + tile.offsets[step], sizeof x);
    std::memcpy(w, tile.weights + step * int64_t{sizeof w}, sizeof w);
    for (int o = 0; o < kLanes; ++o) count[o] += bits_of(x ^ w[o]);
  }
  float *sums = tile.sums[0];
  for (int o = 0; o < kLanes; ++o) {
    const auto differ = static_cast<float>(static_cast<int32_t>(count[o]));
    const float product = tile.scales[0] * (tile.size - 2 * differ);
    sums[o] = sums[o] + product;
  }
}

Accumulate choose(int, int) { return accumulate; }

}  // namespace

extern const Level kPortable = {
    "portable", 8, kLanes, kLanes * kWord / 8, 1, 1,
    word_bit, load, binarize, load_bytes, split_bytes, choose,
};

}  // namespace subbyte::conv_binary
