// Look-up kernels for AVX2, and its successors in 256 bits.
//
// One 32-byte register holds the tables of 2 groups, one per 128-bit lane (`vpshufb` looks up
// within lanes), and one look-up serves 2 groups x 16 outputs. Entries are stored + 128,
// unsigned; the sums start at -128 * (sum of gains or number of codes).
//
// Without gain: bytes are added in 16-bit lanes, two sums a lane. `all` adds the whole lanes,
// low + 256 * high, modulo 2^16; `odd` adds the high bytes alone; so the low sum is
// all - 256 * odd modulo 2^16. Both are exact while they are below 2^16, for 257 bytes of at
// most 255; every 256 look-ups they move to int32.
//
// With gain: `vpmaddubsw` multiplies by the signed gain and adds pairs in 16 bits, with
// saturation, which |gain| <= 64 keeps away: 2 * 255 * 64 < 2^15. A pair must be the same
// output of two groups, so two look-ups are interleaved first; gains are packed that way.
// Small gains leave room for 32 such pairs in 16 bits.
#include <immintrin.h>

#include "conv_lut16/level.h"
#include "dot_products/avx2.h"

namespace subbyte::conv_lut16 {
namespace {

using dot_products::add_even;
using dot_products::add_odd;

constexpr int kHalf = 32;  // bytes of a register: half a vector
constexpr int kSmall = 2;  // kSmallGain: signs, or the magnitudes 1 and 1/2

int table_lane(int j, int c) { return j * kWords + c; }
int code_lane(int o, int j) { return j * kLanes + o; }
// [outputs 0-7 | 8-15][groups 0 and 2 | 1 and 3][output][group]
int gain_lane(int o, int j) { return o / 8 * kHalf + j % 2 * 16 + o % 8 * 2 + j / 2; }
int code_byte(int, int c) { return c; }

__m256i load(const void *from) {
  return _mm256_load_si256(static_cast<const __m256i *>(from));
}

__m256i broadcast2(const uint8_t *x) {
  int16_t value;
  __builtin_memcpy(&value, x, sizeof value);
  return _mm256_set1_epi16(value);
}

// Two groups of one pixel. vpmaddubsw cannot saturate (a word's parts sum to at most 126);
// the additions wrap, but their result fits int16 by the same limit.
__m256i build_pair(const TableJob &job, const uint8_t *x, int64_t group) {
  const __m128i shift = _mm_cvtsi32_si128(job.shift);
  __m256i sum[2];
  for (int j = 0; j < 2; ++j) {
    sum[j] = load(job.start + (group + j) * kWords);
    const int8_t *words = job.codebook + (group + j) * job.chunks * kHalf;
    for (int e = 0; e < job.chunks; ++e) {
      const __m256i value = broadcast2(x + (group + j) * job.word_length + 2 * e);
      sum[j] = _mm256_add_epi16(sum[j], _mm256_maddubs_epi16(value, load(words + e * kHalf)));
    }
    sum[j] = _mm256_sra_epi16(sum[j], shift);
  }
  // vpacksswb interleaves by 128-bit lanes; put each group's 16 entries together again.
  const __m256i packed = _mm256_packs_epi16(sum[0], sum[1]);
  return _mm256_permute4x64_epi64(packed, _MM_SHUFFLE(3, 1, 2, 0));
}

void build(const TableJob &job) {
  const __m256i flip = _mm256_set1_epi8(static_cast<char>(job.flip));
  for (int64_t pixel = 0; pixel < job.count; ++pixel) {
    const uint8_t *x = job.x + pixel * job.x_stride;
    uint8_t *table = job.tables + pixel * job.table_stride;
    for (int64_t group = 0; group < job.vectors * kVectorGroups; group += 2) {
      const __m256i entries = build_pair(job, x, group);
      _mm256_store_si256(reinterpret_cast<__m256i *>(table + group * kWords),
                         _mm256_xor_si256(entries, flip));
    }
  }
}

void add_to(int32_t *acc, __m256i values) {
  auto *at = reinterpret_cast<__m256i *>(acc);
  _mm256_store_si256(at, _mm256_add_epi32(_mm256_load_si256(at), values));
}

// Both lanes' uint16 sums, of 8 outputs each, into 8 int32 sums.
void add_lanes(int32_t *acc, __m256i sums) {
  add_to(acc, _mm256_add_epi32(_mm256_cvtepu16_epi32(_mm256_castsi256_si128(sums)),
                               _mm256_cvtepu16_epi32(_mm256_extracti128_si256(sums, 1))));
}

void flush(int32_t *acc, __m256i all, __m256i odd) {
  const __m256i even = _mm256_sub_epi16(all, _mm256_slli_epi16(odd, 8));
  add_lanes(acc, _mm256_unpacklo_epi16(even, odd));
  add_lanes(acc + 8, _mm256_unpackhi_epi16(even, odd));
}

template <int kBlocks, int kPixels>
void set_start(const Tile &tile) {
  for (int p = 0; p < kPixels; ++p) {
    for (int i = 0; i < kBlocks * kLanes; ++i) {
      tile.acc[p * kBlocks * kLanes + i] = tile.start[i];
    }
  }
}

template <int kBlocks, int kPixels>
struct ByteSums {
  __m256i all[kPixels][kBlocks], odd[kPixels][kBlocks];

  void clear() {
    for (int p = 0; p < kPixels; ++p) {
      for (int b = 0; b < kBlocks; ++b) all[p][b] = odd[p][b] = _mm256_setzero_si256();
    }
  }

  // Half a vector: two groups of every output.
  void add(const uint8_t *const *tables, int64_t at, const uint8_t *codes) {
    for (int p = 0; p < kPixels; ++p) {
      const __m256i table = load(tables[p] + at);
      for (int b = 0; b < kBlocks; ++b) {
        const __m256i entry = _mm256_shuffle_epi8(table, load(codes + b * kVectorBytes));
        all[p][b] = _mm256_add_epi16(all[p][b], entry);
        odd[p][b] = _mm256_add_epi16(odd[p][b], _mm256_srli_epi16(entry, 8));
      }
    }
  }

  void move_to(int32_t *acc) {
    for (int p = 0; p < kPixels; ++p) {
      for (int b = 0; b < kBlocks; ++b) {
        flush(acc + (p * kBlocks + b) * kLanes, all[p][b], odd[p][b]);
      }
    }
    clear();
  }
};

template <int kBlocks, int kPixels>
void accumulate_plain(const Tile &tile) {
  constexpr int64_t kFlush = 128;  // vectors: two look-ups each
  set_start<kBlocks, kPixels>(tile);
  ByteSums<kBlocks, kPixels> sums;
  sums.clear();
  int64_t room = kFlush;
  const uint8_t *codes = tile.codes;
  for (int64_t tap = 0; tap < tile.taps; ++tap) {
    const uint8_t *tables[kPixels];
    for (int p = 0; p < kPixels; ++p) tables[p] = tile.tables[p] + tile.tap_offsets[tap];
    for (int64_t left = tile.vectors; left > 0;) {
      const int64_t count = left < room ? left : room;
      const int64_t bytes = count * kVectorBytes;
      for (int64_t at = 0; at != bytes; at += kVectorBytes) {
        sums.add(tables, at, codes);
        sums.add(tables, at + kHalf, codes + kHalf);
        codes += kBlocks * kVectorBytes;
      }
      for (int p = 0; p < kPixels; ++p) tables[p] += bytes;
      left -= count;
      room -= count;
      if (room == 0) {
        sums.move_to(tile.acc);
        room = kFlush;
      }
    }
  }
  sums.move_to(tile.acc);
}

// int16 sums of outputs 0-7 (8-15) of a vector, as int32: even outputs, then odd ones.
struct Sums {
  __m256i even, odd;
};

void add_products(Sums *sums, __m256i entries, __m256i gains) {
  const __m256i products = _mm256_maddubs_epi16(entries, gains);
  sums->even = add_even(sums->even, products);
  sums->odd = add_odd(sums->odd, products);
}

// Interleave the outputs again and add the two lanes: 8 int32 sums.
void add_sums(int32_t *acc, const Sums &sums) {
  const __m256i low = _mm256_unpacklo_epi32(sums.even, sums.odd);
  const __m256i high = _mm256_unpackhi_epi32(sums.even, sums.odd);
  add_to(acc, _mm256_add_epi32(_mm256_permute2x128_si256(low, high, 0x20),
                               _mm256_permute2x128_si256(low, high, 0x31)));
}

template <int kBlocks, int kPixels>
void accumulate_gain(const Tile &tile) {
  set_start<kBlocks, kPixels>(tile);
  Sums sums[kPixels][kBlocks][2];
  for (auto &pixel : sums) {
    for (auto &block : pixel) {
      for (Sums &sum : block) sum.even = sum.odd = _mm256_setzero_si256();
    }
  }
  const uint8_t *codes = tile.codes;
  const int8_t *gains = tile.gains;
  for (int64_t tap = 0; tap < tile.taps; ++tap) {
    for (int64_t vector = 0; vector < tile.vectors; ++vector) {
      for (int p = 0; p < kPixels; ++p) {
        const uint8_t *table = tile.tables[p] + tile.tap_offsets[tap] + vector * kVectorBytes;
        for (int b = 0; b < kBlocks; ++b) {
          const uint8_t *code = codes + b * kVectorBytes;
          const int8_t *gain = gains + b * kVectorBytes;
          const __m256i first = _mm256_shuffle_epi8(load(table), load(code));
          const __m256i second = _mm256_shuffle_epi8(load(table + kHalf), load(code + kHalf));
          add_products(&sums[p][b][0], _mm256_unpacklo_epi8(first, second), load(gain));
          add_products(&sums[p][b][1], _mm256_unpackhi_epi8(first, second), load(gain + kHalf));
        }
      }
      codes += kBlocks * kVectorBytes;
      gains += kBlocks * kVectorBytes;
    }
  }
  for (int p = 0; p < kPixels; ++p) {
    for (int b = 0; b < kBlocks; ++b) {
      add_sums(tile.acc + (p * kBlocks + b) * kLanes, sums[p][b][0]);
      add_sums(tile.acc + (p * kBlocks + b) * kLanes + 8, sums[p][b][1]);
    }
  }
}

// Sixteen-bit sums of gain * entry, of outputs 0-7 and 8-15; both lanes hold the same
// outputs, of two groups each.
template <int kBlocks, int kPixels>
struct SmallSums {
  __m256i sum[kPixels][kBlocks][2];

  void clear() {
    for (auto &pixel : sum) {
      for (auto &block : pixel) block[0] = block[1] = _mm256_setzero_si256();
    }
  }

  // One vector.
  void add(const uint8_t *const *tables, int64_t at, const uint8_t *codes, const int8_t *gains) {
    for (int p = 0; p < kPixels; ++p) {
      for (int b = 0; b < kBlocks; ++b) {
        const uint8_t *code = codes + b * kVectorBytes;
        const int8_t *gain = gains + b * kVectorBytes;
        const __m256i first = _mm256_shuffle_epi8(load(tables[p] + at), load(code));
        const __m256i second =
            _mm256_shuffle_epi8(load(tables[p] + at + kHalf), load(code + kHalf));
        const __m256i low = _mm256_unpacklo_epi8(first, second);
        const __m256i high = _mm256_unpackhi_epi8(first, second);
        sum[p][b][0] = _mm256_add_epi16(sum[p][b][0], _mm256_maddubs_epi16(low, load(gain)));
        sum[p][b][1] =
            _mm256_add_epi16(sum[p][b][1], _mm256_maddubs_epi16(high, load(gain + kHalf)));
      }
    }
  }

  void move_to(int32_t *acc, __m256i unit) {
    for (int p = 0; p < kPixels; ++p) {
      for (int b = 0; b < kBlocks; ++b, acc += kLanes) {
        for (int half = 0; half < 2; ++half) {
          const __m256i sums = sum[p][b][half];
          const __m256i both = _mm256_add_epi32(
              _mm256_cvtepi16_epi32(_mm256_castsi256_si128(sums)),
              _mm256_cvtepi16_epi32(_mm256_extracti128_si256(sums, 1)));
          add_to(acc + 8 * half, _mm256_mullo_epi32(both, unit));
        }
      }
    }
    clear();
  }
};

template <int kBlocks, int kPixels>
void accumulate_small_gain(const Tile &tile) {
  constexpr int64_t kFlush = 32767 / (2 * 255 * kSmall);  // vectors: a pair of entries each
  set_start<kBlocks, kPixels>(tile);
  const __m256i unit = _mm256_set1_epi32(tile.gain_unit);
  SmallSums<kBlocks, kPixels> sums;
  sums.clear();
  int64_t room = kFlush;
  const uint8_t *codes = tile.codes;
  const int8_t *gains = tile.gains;
  for (int64_t tap = 0; tap < tile.taps; ++tap) {
    const uint8_t *tables[kPixels];
    for (int p = 0; p < kPixels; ++p) tables[p] = tile.tables[p] + tile.tap_offsets[tap];
    for (int64_t left = tile.vectors; left > 0;) {
      const int64_t count = left < room ? left : room;
      const int64_t bytes = count * kVectorBytes;
      for (int64_t at = 0; at != bytes; at += kVectorBytes) {
        sums.add(tables, at, codes, gains);
        codes += kBlocks * kVectorBytes;
        gains += kBlocks * kVectorBytes;
      }
      for (int p = 0; p < kPixels; ++p) tables[p] += bytes;
      left -= count;
      room -= count;
      if (room == 0) {
        sums.move_to(tile.acc, unit);
        room = kFlush;
      }
    }
  }
  sums.move_to(tile.acc, unit);
}

Accumulate choose(Gain gain, int blocks, int pixels) {
  static constexpr Accumulate kPlain[2][4] = {
      {accumulate_plain<1, 1>, accumulate_plain<1, 2>, accumulate_plain<1, 3>,
       accumulate_plain<1, 4>},
      {accumulate_plain<2, 1>, accumulate_plain<2, 2>},
  };
  static constexpr Accumulate kGain[2][2] = {{accumulate_gain<1, 1>, accumulate_gain<1, 2>},
                                      {accumulate_gain<2, 1>}};
  static constexpr Accumulate kSmallGains[2][4] = {
      {accumulate_small_gain<1, 1>, accumulate_small_gain<1, 2>, accumulate_small_gain<1, 3>,
       accumulate_small_gain<1, 4>},
      {accumulate_small_gain<2, 1>, accumulate_small_gain<2, 2>},
  };
  if (gain == kSmallGain) return kSmallGains[blocks - 1][pixels - 1];
  return gain == kAnyGain ? kGain[blocks - 1][pixels - 1] : kPlain[blocks - 1][pixels - 1];
}

}  // namespace

extern const Level SUBBYTE_LEVEL = {
    SUBBYTE_LEVEL_NAME,
    2,
    2,
    kSmall,
    {{4, 2, 0, 0}, {2, 1, 0, 0}, {4, 2, 0, 0}},
    {true, true},
    table_lane,
    code_lane,
    gain_lane,
    code_byte,
    build,
    choose,
};

}  // namespace subbyte::conv_lut16
