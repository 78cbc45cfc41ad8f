// The binary kernels as plain loops: what every other level must equal, bit for bit.
#include "conv_binary/level.h"

namespace subbyte::conv_binary {
namespace {

int channel_bit(int, int i) { return i; }

float magnitude(float v) { return v < 0 ? 0 - v : v; }

// l += l + 8, then 4, 2 and 1 apart.
float total(float partial[kPartials]) {
  for (int half = kPartials / 2; half > 0; half /= 2) {
    for (int l = 0; l < half; ++l) partial[l] += partial[l + half];
  }
  return partial[0];
}

void load(const Load &job) {
  for (int64_t pixel = 0; pixel < job.count; ++pixel) {
    float partial[kPartials] = {};
    for (int64_t i = 0; i < job.depth; ++i) {
      float v = 0;
      if (i < job.channels) {
        const int64_t at = pixel * job.x_step + i;
        v = job.bytes ? static_cast<float>(static_cast<const uint8_t *>(job.x)[at] - job.zero)
                      : static_cast<const float *>(job.x)[at] + 0.0F;
      }
      job.values[pixel * job.depth + i] = v;
      partial[i % kPartials] += magnitude(v);
    }
    job.sums[pixel] = total(partial);
  }
}

// Signs of one order of one vector, from its residual.
void put_signs(const Binarize &job, uint8_t *to) {
  for (int64_t tap = 0; tap < job.taps; ++tap) {
    const float *r = job.residual + tap * job.depth;
    uint8_t *signs = to + tap * job.tap_bytes;
    for (int64_t i = 0; i < (job.channels + kWord - 1) / kWord * kWord; ++i) {
      if (i % 8 == 0) signs[i / 8] = 0;
      if (i < job.channels && r[i] < 0) {
        signs[i / 8] = static_cast<uint8_t>(signs[i / 8] | 1 << i % 8);
      }
    }
  }
}

// r -= beta * sign(r); returns the sum of |r|.
float subtract(const Binarize &job, float beta) {
  float partial[kPartials] = {};
  for (int64_t tap = 0; tap < job.taps; ++tap) {
    float *r = job.residual + tap * job.depth;
    for (int64_t i = 0; i < job.channels; ++i) {
      r[i] = r[i] < 0 ? r[i] + beta : r[i] - beta;
      partial[i % kPartials] += magnitude(r[i]);
    }
  }
  return total(partial);
}

void binarize(const Binarize &job) {
  for (int64_t vector = 0; vector < job.count; ++vector) {
    for (int64_t tap = 0; tap < job.taps; ++tap) {
      const float *values = job.values + vector * job.step + job.offsets[tap];
      for (int64_t i = 0; i < job.depth; ++i) job.residual[tap * job.depth + i] = values[i];
    }
    for (int k = 0; k < job.order; ++k) {
      float *sum = job.sums + k * job.sums_step + vector;
      if (k > 0) {
        const float before = *(sum - job.sums_step) / job.size;
        *sum = subtract(job, job.scales != nullptr ? job.scales[k - 1] : before);
      }
      put_signs(job, job.signs + vector * job.vector_bytes + k * job.order_bytes);
    }
  }
}

int64_t padded(int64_t channels) { return (channels + kWord - 1) / kWord * kWord; }

void put_sign(uint8_t *signs, int64_t i, bool negative) {
  if (i % 8 == 0) signs[i / 8] = 0;
  if (negative) signs[i / 8] = static_cast<uint8_t>(signs[i / 8] | 1 << i % 8);
}

void load_bytes(const LoadBytes &job) {
  for (int64_t pixel = 0; pixel < job.count; ++pixel) {
    const uint8_t *x = job.x + pixel * job.x_step;
    int64_t sum = 0;
    for (int64_t i = 0; i < padded(job.channels); ++i) {
      const int value = i < job.channels ? x[i] - job.zero : 0;
      const int size = value < 0 ? -value : value;
      put_sign(job.signs + pixel * job.signs_step, i, value < 0);
      if (job.sizes != nullptr) {
        job.sizes[pixel * job.sizes_step + i] = static_cast<uint8_t>(size);
      }
      sum += size;
    }
    job.sums[pixel] = static_cast<float>(sum);
  }
}

void split_bytes(const SplitBytes &job) {
  for (int64_t vector = 0; vector < job.count; ++vector) {
    const float beta = job.betas[vector];
    const int whole = static_cast<int>(beta);
    job.excess[vector] = job.above[vector] = 0;
    for (int64_t tap = 0; tap < job.taps; ++tap) {
      const ptrdiff_t at = vector * job.step + job.offsets[tap];
      uint8_t *signs = job.signs + vector * job.vector_bytes + tap * job.tap_bytes;
      for (int64_t i = 0; i < padded(job.channels); ++i) {
        const bool negative = (job.first_signs[at + i / 8] >> i % 8 & 1) != 0;
        const int size = job.sizes[at + i];
        // The residual's sign: of size - beta, or of beta - size.
        const auto value = static_cast<float>(size);
        const bool turned = negative ? value > beta : value < beta;
        put_sign(signs, i, negative);
        put_sign(signs + job.order_bytes, i, turned && i < job.channels);
        job.excess[vector] += size > whole ? size - whole : 0;
        job.above[vector] += value > beta ? 1 : 0;
      }
    }
  }
}

int bits_of(uint8_t byte) {
  int count = 0;
  for (int bit = 0; bit < 8; ++bit) count += byte >> bit & 1;
  return count;
}

void accumulate(const Tile &tile) {
  int32_t count = 0;
  for (int64_t step = 0; step < tile.steps; ++step) {
    const uint8_t *x = tile.rows[0] + tile.offsets[step];
    const uint8_t *w = tile.weights + step * kWord / 8;
    for (int i = 0; i < kWord / 8; ++i) count += bits_of(static_cast<uint8_t>(x[i] ^ w[i]));
  }
  const float product = tile.scales[0] * (tile.size - 2 * static_cast<float>(count));
  tile.sums[0][0] = tile.sums[0][0] + product;
}

Accumulate choose(int, int) { return accumulate; }

}  // namespace

extern const Level kReference = {
    "reference", 8, 1, 8, 1, 1,
    channel_bit, load, binarize, load_bytes, split_bytes, choose,
};

}  // namespace subbyte::conv_binary
