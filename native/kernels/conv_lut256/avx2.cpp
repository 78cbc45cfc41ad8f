// Look-ups in 32 to 256 words for AVX2, and its successors in 256 bits.
//
// `vpshufb` looks 32 codes up in 16 entries, and gives 0 where a code's top bit is set. Of
// the 16 entries k .. k + 15 of a table it is given (code ^ k) + 0x70, saturated: below 0x80
// only where the code is one of them. The results of all parts of a table are or-ed.
// Entries are stored + 128, unsigned; the sums start at -128 * (sum of gains or number of
// codes).
//
// Without gain: bytes are added in 16-bit lanes, two sums a lane. `all` adds the whole lanes,
// low + 256 * high, modulo 2^16; `high` the high bytes alone; so the low sum is
// all - 256 * high modulo 2^16. Both stay below 2^16 for kFlush vectors, 256 bytes of at most
// 255.
//
// With gain: `vpmaddubsw` multiplies by the signed gain and adds pairs in 16 bits, with
// saturation, which |gain| <= 64 keeps away: 2 * 255 * 64 < 2^15. A pair must be the same
// output of two groups, so two look-ups are interleaved first.
#include <immintrin.h>

#include "conv_lut256/level.h"
#include "dot_products/avx2.h"

namespace subbyte::conv_lut256 {
namespace {

using dot_products::add_even;
using dot_products::add_odd;

constexpr int kLanes = 32;
constexpr int kPixels = 4;
constexpr int kGainPixels = 2;
constexpr int64_t kFlush = 64;  // vectors

int plain_code(int, int, int c) { return c; }

// With gain, output 8a + n comes to sum n of register a: the low or the high half of the
// interleaved pairs, in it the even or the odd ones.
int pair_lane(int o) {
  const int a = o / 8, n = o % 8;
  return 16 * (n / 4) + 8 * (a / 2) + 2 * (n % 4) + a % 2;
}

int code_lane(int, bool gain, int o, int j) {
  // Without gain, outputs 0 to 15 are the low bytes, the others the high ones.
  return j * kLanes + (gain ? pair_lane(o) : o % 16 * 2 + o / 16);
}

int gain_lane(int o, int j) {
  const int lane = pair_lane(o);
  return j / 2 * 2 * kLanes + lane % 16 / 8 * kLanes + lane / 16 * 16 + lane % 8 * 2 + j % 2;
}

__m256i load(const void *from) {
  return _mm256_load_si256(static_cast<const __m256i *>(from));
}

__m256i broadcast2(const uint8_t *x) {
  int16_t value;
  __builtin_memcpy(&value, x, sizeof value);
  return _mm256_set1_epi16(value);
}

// Two units of words of one group. vpmaddubsw cannot saturate (a word's parts sum to at most
// 126); the additions wrap, but their result fits int16 by the same limit.
__m256i build_pair(const TableJob &job, const uint8_t *x, int64_t unit) {
  const __m128i shift = _mm_cvtsi32_si128(job.shift);
  __m256i sum[2];
  for (int u = 0; u < 2; ++u) {
    sum[u] = load(job.start + (unit + u) * kUnit);
    const int8_t *words = job.codebook + (unit + u) * job.chunks * 2 * kUnit;
    for (int e = 0; e < job.chunks; ++e) {
      const __m256i value = broadcast2(x + 2 * e);
      sum[u] = _mm256_add_epi16(sum[u], _mm256_maddubs_epi16(value, load(words + e * 2 * kUnit)));
    }
    sum[u] = _mm256_sra_epi16(sum[u], shift);
  }
  // vpacksswb interleaves by 128-bit lanes; put each unit's 16 entries together again.
  const __m256i packed = _mm256_packs_epi16(sum[0], sum[1]);
  return _mm256_permute4x64_epi64(packed, _MM_SHUFFLE(3, 1, 2, 0));
}

void build(const TableJob &job) {
  const __m256i flip = _mm256_set1_epi8(static_cast<char>(job.flip));
  const int units = job.words / kUnit;
  for (int64_t pixel = 0; pixel < job.count; ++pixel) {
    const uint8_t *x = job.x + pixel * job.x_stride;
    uint8_t *table = job.tables + pixel * job.table_stride;
    for (int64_t group = 0; group < job.vectors * kVectorGroups; ++group) {
      for (int unit = 0; unit < units; unit += 2, table += 2 * kUnit) {
        const __m256i entries = build_pair(job, x + group * job.word_length, group * units + unit);
        _mm256_store_si256(reinterpret_cast<__m256i *>(table), _mm256_xor_si256(entries, flip));
      }
    }
  }
}

// The entries of 32 codes in one group's table of each pixel.
template <int kCount>
void look_up(const uint8_t *const *tables, ptrdiff_t at, int words, __m256i code,
             __m256i entry[kCount]) {
  const __m256i saturate = _mm256_set1_epi8(0x70);
  for (int p = 0; p < kCount; ++p) entry[p] = _mm256_setzero_si256();
  for (int k = 0; k < words; k += kUnit) {
    const __m256i in_part = _mm256_xor_si256(code, _mm256_set1_epi8(static_cast<char>(k)));
    const __m256i index = _mm256_adds_epu8(in_part, saturate);
    for (int p = 0; p < kCount; ++p) {
      const __m256i part = _mm256_broadcastsi128_si256(
          _mm_load_si128(reinterpret_cast<const __m128i *>(tables[p] + at + k)));
      entry[p] = _mm256_or_si256(entry[p], _mm256_shuffle_epi8(part, index));
    }
  }
}

void add_to(int32_t *acc, __m256i values) {
  auto *at = reinterpret_cast<__m256i *>(acc);
  _mm256_store_si256(at, _mm256_add_epi32(_mm256_load_si256(at), values));
}

// acc += 16 unsigned sums of 16 bits.
void add_lanes(int32_t *acc, __m256i sums) {
  add_to(acc, _mm256_cvtepu16_epi32(_mm256_castsi256_si128(sums)));
  add_to(acc + 8, _mm256_cvtepu16_epi32(_mm256_extracti128_si256(sums, 1)));
}

template <int kCount>
struct ByteSums {
  __m256i all[kCount], high[kCount];

  void clear() {
    for (int p = 0; p < kCount; ++p) all[p] = high[p] = _mm256_setzero_si256();
  }

  // One group of every output.
  void add(const uint8_t *const *tables, ptrdiff_t at, int words, const uint8_t *codes) {
    __m256i entry[kCount];
    look_up<kCount>(tables, at, words, load(codes), entry);
    for (int p = 0; p < kCount; ++p) {
      all[p] = _mm256_add_epi16(all[p], entry[p]);
      high[p] = _mm256_add_epi16(high[p], _mm256_srli_epi16(entry[p], 8));
    }
  }

  void move_to(int32_t *acc) {
    for (int p = 0; p < kCount; ++p) {
      add_lanes(acc + p * kLanes, _mm256_sub_epi16(all[p], _mm256_slli_epi16(high[p], 8)));
      add_lanes(acc + p * kLanes + 16, high[p]);
    }
    clear();
  }
};

template <int kCount>
void set_start(const Tile &tile) {
  for (int i = 0; i < kCount * kLanes; ++i) tile.acc[i] = tile.start[i % kLanes];
}

template <int kCount>
void accumulate_plain(const Tile &tile) {
  set_start<kCount>(tile);
  ByteSums<kCount> sums;
  sums.clear();
  int64_t room = kFlush;
  const uint8_t *codes = tile.codes;
  for (int64_t step = 0; step < tile.steps; ++step) {
    const ptrdiff_t at = tile.offsets[step];
    for (int j = 0; j < kVectorGroups; ++j, codes += kLanes) {
      sums.add(tile.tables, at + j * tile.words, tile.words, codes);
    }
    if (--room == 0) {
      sums.move_to(tile.acc);
      room = kFlush;
    }
  }
  sums.move_to(tile.acc);
}

// Products of 16 outputs, of two groups each, added to int32 sums: even outputs, odd ones.
void add_products(__m256i sum[2], __m256i entries, const int8_t *gains) {
  const __m256i products = _mm256_maddubs_epi16(entries, load(gains));
  sum[0] = add_even(sum[0], products);
  sum[1] = add_odd(sum[1], products);
}

template <int kCount>
void accumulate_gain(const Tile &tile) {
  set_start<kCount>(tile);
  __m256i sum[kCount][4];
  for (auto &pixel : sum) {
    for (__m256i &part : pixel) part = _mm256_setzero_si256();
  }
  const uint8_t *codes = tile.codes;
  const int8_t *gains = tile.gains;
  for (int64_t step = 0; step < tile.steps; ++step) {
    const ptrdiff_t at = tile.offsets[step];
    for (int j = 0; j < kVectorGroups; j += 2) {
      __m256i first[kCount], second[kCount];
      look_up<kCount>(tile.tables, at + j * tile.words, tile.words, load(codes), first);
      look_up<kCount>(tile.tables, at + (j + 1) * tile.words, tile.words, load(codes + kLanes),
                      second);
      for (int p = 0; p < kCount; ++p) {
        add_products(sum[p], _mm256_unpacklo_epi8(first[p], second[p]), gains);
        add_products(sum[p] + 2, _mm256_unpackhi_epi8(first[p], second[p]), gains + kLanes);
      }
      codes += 2 * kLanes;
      gains += 2 * kLanes;
    }
  }
  for (int p = 0; p < kCount; ++p) {
    for (int a = 0; a < 4; ++a) add_to(tile.acc + p * kLanes + 8 * a, sum[p][a]);
  }
}

int most_cells(int, bool) { return 1; }
int most_pixels(int, bool gain, int) { return gain ? kGainPixels : kPixels; }

Accumulate choose(int, bool gain, int, int pixels) {
  static constexpr Accumulate kPlain[kPixels] = {accumulate_plain<1>, accumulate_plain<2>,
                                                 accumulate_plain<3>, accumulate_plain<4>};
  static constexpr Accumulate kGain[kGainPixels] = {accumulate_gain<1>, accumulate_gain<2>};
  return gain ? kGain[pixels - 1] : kPlain[pixels - 1];
}

}  // namespace

extern const Level SUBBYTE_LEVEL = {
    SUBBYTE_LEVEL_NAME,    2,     kLanes,     true,        plain_code, code_lane,
    gain_lane, build, most_cells, most_pixels, choose,
};

}  // namespace subbyte::conv_lut256
