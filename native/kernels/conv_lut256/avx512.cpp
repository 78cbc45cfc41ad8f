// Look-ups in 32 to 256 words for AVX-512 with VNNI and VBMI.
//
// A 64-byte register holds the codes of 64 look-ups, a table of 64 entries, or two a table of
// 128. Entries are stored + 128, unsigned; the sums start at -128 * (sum of gains or number
// of codes). Which codes share a register:
//
// quads (32 words): 4 groups x 16 outputs. One `vpermi2b` in the tables of 4 groups; one
//   `vpdpbusd`, times 1 or the gain, adds each output's 4 bytes to its int32 sum.
// pairs (64 words): 2 groups x 32 outputs. One `vpermi2b` in the tables of 2 groups; one
//   `vpmaddubsw` adds each output's 2 bytes, into 16-bit sums.
// lines (128, 256 words): 1 group x 64 outputs. One `vpermi2b`, or two and a blend by the
//   code's top bit. Bytes are added in 16-bit lanes, two sums a lane: `all` adds the whole
//   lanes, low + 256 * high, modulo 2^16, `high` the high bytes alone; so the low sum is
//   all - 256 * high modulo 2^16.
// lines with gain (64 to 256 words): the look-ups of 4 groups are interleaved into 4
//   registers of 16 outputs x 4 groups, for `vpdpbusd` as above.
//
// 16-bit sums stay below 2^16 for kFlush vectors: 256 bytes of at most 255 each.
#include <immintrin.h>

#include "conv_lut256/level.h"
#include "dot_products/avx512.h"

namespace subbyte::conv_lut256 {
namespace {

using dot_products::multiply_add;

constexpr int kRegister = 64;
constexpr int kLanes = 64;
constexpr int kCell = kVectorGroups * kLanes;
constexpr int64_t kFlush = 64;  // vectors

// vpackssdw and vpacksswb interleave four units of 16 words by 128-bit lanes: word r of unit u
// comes to 16 * (r >> 2) + 4u + (r & 3). With 32 words the units are of two groups.
int code_byte(int words, int j, int c) {
  const int in_register = words == 32 ? j % 2 * 32 + c : c % kRegister;
  const int unit = in_register / kUnit, r = in_register % kUnit;
  const int position = 16 * (r >> 2) + 4 * unit + (r & 3);
  if (words == 32) return j / 2 * kRegister + position;
  if (words == 64) return j % 2 * kRegister + position;
  return c / kRegister * kRegister + position;
}

int code_lane(int words, bool gain, int o, int j) {
  if (words == 32) return o * kVectorGroups + j;
  // The interleaving's inverse.
  if (gain) return j * kLanes + o % 16 / 4 * 16 + o / 16 * 4 + o % 4;
  if (words == 64) return j / 2 * 2 * kLanes + o * 2 + j % 2;
  // Outputs 0 to 31 are the low bytes, the others the high ones.
  return j * kLanes + o % 32 * 2 + o / 32;
}

int gain_lane(int o, int j) { return o * kVectorGroups + j; }

// Of the loops that hold all sums in registers: unrolled, they need more than there are.
#if defined(__clang__)
#define NO_UNROLL _Pragma("nounroll")
#else
#define NO_UNROLL _Pragma("GCC unroll 1")
#endif

__m512i load(const void *from) { return _mm512_load_si512(from); }

// The entries of 64 codes in a table of 128. GCC 12 would have the result replace a part of the
// table, which is then loaded anew.
__m512i permute(__m512i first, __m512i code, __m512i second) {
#if defined(__clang__)
  return _mm512_permutex2var_epi8(first, code, second);
#else
  __asm__("vpermi2b %2, %1, %0" : "+v"(code) : "v"(first), "v"(second));
  return code;
#endif
}

__m512i broadcast4(const uint8_t *x) {
  int32_t value;
  __builtin_memcpy(&value, x, sizeof value);
  return _mm512_set1_epi32(value);
}

// One register of entries of kPixels pixels: four units of words, by chunks of 4 bytes (a
// shorter word ends in zeros), which the codebook's limits keep within int16. The first two
// units are of the channels at x, the others of those `second` bytes behind.
template <int kChunks, int kPixels>
void build_register(const TableJob &job, const uint8_t *x, ptrdiff_t second,
                    const int8_t *codebook, const int16_t *start, uint8_t *tables) {
  const __m128i shift = _mm_cvtsi32_si128(job.shift);
  const __m512i flip = _mm512_set1_epi8(static_cast<char>(job.flip));
  __m512i sum[kPixels][4];
  for (int u = 0; u < 4; ++u) {
    const __m512i first = _mm512_cvtepi16_epi32(
        _mm256_load_si256(reinterpret_cast<const __m256i *>(start + u * kUnit)));
    for (int p = 0; p < kPixels; ++p) sum[p][u] = first;
    for (int e = 0; e < kChunks; ++e) {
      const __m512i words = load(codebook + (u * kChunks + e) * kRegister);
      for (int p = 0; p < kPixels; ++p) {
        const uint8_t *from = x + p * job.x_stride + (u < 2 ? 0 : second) + 4 * e;
        sum[p][u] = multiply_add(sum[p][u], broadcast4(from), words);
      }
    }
  }
  for (int p = 0; p < kPixels; ++p) {
    const __m512i low = _mm512_sra_epi16(_mm512_packs_epi32(sum[p][0], sum[p][1]), shift);
    const __m512i high = _mm512_sra_epi16(_mm512_packs_epi32(sum[p][2], sum[p][3]), shift);
    _mm512_store_si512(tables + p * job.table_stride,
                       _mm512_xor_si512(_mm512_packs_epi16(low, high), flip));
  }
}

template <int kChunks, int kPixels>
void build_pixels(const TableJob &job, const uint8_t *x, uint8_t *tables) {
  const int64_t registers = job.vectors * kVectorGroups * job.words / kRegister;
  const bool two = job.words == 32;  // groups of a register
  const int64_t each = two ? 1 : job.words / kRegister;
  const ptrdiff_t second = two ? job.word_length : 0;
  const int8_t *codebook = job.codebook;
  const int16_t *start = job.start;
  for (int64_t r = 0; r < registers; r += each, x += job.word_length + second) {
    for (int64_t i = 0; i < each; ++i) {
      build_register<kChunks, kPixels>(job, x, second, codebook, start, tables);
      codebook += 4 * kChunks * kRegister;
      start += kRegister;
      tables += kRegister;
    }
  }
}

template <int kChunks>
void build_chunks(const TableJob &job) {
  int64_t pixel = 0;
  for (; pixel + 4 <= job.count; pixel += 4) {
    build_pixels<kChunks, 4>(job, job.x + pixel * job.x_stride,
                             job.tables + pixel * job.table_stride);
  }
  for (; pixel + 2 <= job.count; pixel += 2) {
    build_pixels<kChunks, 2>(job, job.x + pixel * job.x_stride,
                             job.tables + pixel * job.table_stride);
  }
  for (; pixel < job.count; ++pixel) {
    build_pixels<kChunks, 1>(job, job.x + pixel * job.x_stride,
                             job.tables + pixel * job.table_stride);
  }
}

void build(const TableJob &job) {
  static constexpr void (*kBuild[])(const TableJob &) = {build_chunks<1>, build_chunks<2>,
                                                         build_chunks<3>, build_chunks<4>};
  kBuild[job.chunks - 1](job);
}

template <bool kGain, int kPixels>
void accumulate_quads(const Tile &tile) {
  const __m512i ones = _mm512_set1_epi8(1);
  __m512i acc[kPixels][4];
  for (int p = 0; p < kPixels; ++p) {
    for (int q = 0; q < 4; ++q) acc[p][q] = load(tile.start + 16 * q);
  }
  const uint8_t *codes = tile.codes;
  const int8_t *gains = tile.gains;
  const uint8_t *tables[kPixels];
  for (int p = 0; p < kPixels; ++p) tables[p] = tile.tables[p];
  // There is a step, and the loop says so: the sums stay in registers.
  int64_t step = 0;
  do {
    const ptrdiff_t at = tile.offsets[step];
    __m512i code[4];
    for (int q = 0; q < 4; ++q) code[q] = load(codes + q * kRegister);
    for (int p = 0; p < kPixels; ++p) {
      const __m512i first = load(tables[p] + at);
      const __m512i second = load(tables[p] + at + kRegister);
      for (int q = 0; q < 4; ++q) {
        const __m512i entry = permute(first, code[q], second);
        acc[p][q] = multiply_add(acc[p][q], entry, kGain ? load(gains + q * kRegister) : ones);
      }
    }
    codes += kCell;
    gains += kCell;
  } while (++step < tile.steps);
  for (int p = 0; p < kPixels; ++p) {
    for (int q = 0; q < 4; ++q) _mm512_store_si512(tile.acc + (4 * p + q) * 16, acc[p][q]);
  }
}

// acc += 32 unsigned sums of 16 bits.
void add_to(int32_t *acc, __m512i sums) {
  const __m512i low = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(sums));
  const __m512i high = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(sums, 1));
  _mm512_store_si512(acc, _mm512_add_epi32(load(acc), low));
  _mm512_store_si512(acc + 16, _mm512_add_epi32(load(acc + 16), high));
}

template <int kCells, int kPixels>
struct PairSums {
  __m512i sum[kPixels][kCells][2];  // outputs 0 to 31, 32 to 63

  void clear() {
    for (auto &pixel : sum) {
      for (auto &cell : pixel) cell[0] = cell[1] = _mm512_setzero_si512();
    }
  }

  void add(const uint8_t *const *tables, ptrdiff_t at, const uint8_t *codes) {
    const __m512i ones = _mm512_set1_epi8(1);
    NO_UNROLL
    for (int pair = 0; pair < 2; ++pair) {
      for (int p = 0; p < kPixels; ++p) {
        const __m512i first = load(tables[p] + at + pair * 128);
        const __m512i second = load(tables[p] + at + pair * 128 + kRegister);
        for (int c = 0; c < kCells; ++c) {
          for (int half = 0; half < 2; ++half) {
            const __m512i code = load(codes + c * kCell + (2 * pair + half) * kRegister);
            const __m512i entry = permute(first, code, second);
            sum[p][c][half] =
                _mm512_add_epi16(sum[p][c][half], _mm512_maddubs_epi16(entry, ones));
          }
        }
      }
    }
  }

  void move_to(int32_t *acc) {
    for (auto &pixel : sum) {
      for (auto &cell : pixel) {
        add_to(acc, cell[0]);
        add_to(acc + 32, cell[1]);
        acc += kLanes;
      }
    }
    clear();
  }
};

// The table of one group.
template <int kWords>
struct Table {
  static constexpr int kRegisters = kWords / kRegister;
  __m512i part[kRegisters];

  explicit Table(const uint8_t *from) {
    for (int r = 0; r < kRegisters; ++r) part[r] = load(from + r * kRegister);
  }

  __m512i operator[](__m512i code) const {
    if (kRegisters == 1) return _mm512_permutexvar_epi8(code, part[0]);
    const __m512i low = permute(part[0], code, part[1 % kRegisters]);
    if (kRegisters == 2) return low;
    const __m512i high = permute(part[2 % kRegisters], code, part[3 % kRegisters]);
    return _mm512_mask_blend_epi8(_mm512_movepi8_mask(code), low, high);
  }
};

template <int kWords, int kCells, int kPixels>
struct LineSums {
  __m512i all[kPixels][kCells], high[kPixels][kCells];

  void clear() {
    for (int p = 0; p < kPixels; ++p) {
      for (int c = 0; c < kCells; ++c) all[p][c] = high[p][c] = _mm512_setzero_si512();
    }
  }

  void add(const uint8_t *const *tables, ptrdiff_t at, const uint8_t *codes) {
    const __m512i second = _mm512_set1_epi16(256);  // bytes 0 and 1
    NO_UNROLL
    for (int j = 0; j < kVectorGroups; ++j) {
      for (int p = 0; p < kPixels; ++p) {
        const Table<kWords> table(tables[p] + at + j * kWords);
        for (int c = 0; c < kCells; ++c) {
          const __m512i entry = table[load(codes + c * kCell + j * kRegister)];
          all[p][c] = _mm512_add_epi16(all[p][c], entry);
          high[p][c] = _mm512_add_epi16(high[p][c], _mm512_maddubs_epi16(entry, second));
        }
      }
    }
  }

  void move_to(int32_t *acc) {
    for (int p = 0; p < kPixels; ++p) {
      for (int c = 0; c < kCells; ++c, acc += kLanes) {
        add_to(acc, _mm512_sub_epi16(all[p][c], _mm512_slli_epi16(high[p][c], 8)));
        add_to(acc + 32, high[p][c]);
      }
    }
    clear();
  }
};

// `Sums` hold what kFlush vectors add, and move it to the tile's int32 sums.
template <template <int, int> class Sums, int kCells, int kPixels>
void accumulate_short(const Tile &tile) {
  for (int p = 0; p < kPixels; ++p) {
    for (int i = 0; i < kCells * kLanes; i += 16) {
      _mm512_store_si512(tile.acc + p * kCells * kLanes + i, load(tile.start + i));
    }
  }
  Sums<kCells, kPixels> sums;
  sums.clear();
  int64_t room = kFlush;
  const uint8_t *codes = tile.codes;
  const uint8_t *tables[kPixels];
  for (int p = 0; p < kPixels; ++p) tables[p] = tile.tables[p];
  for (int64_t step = 0; step < tile.steps; ++step, codes += kCells * kCell) {
    sums.add(tables, tile.offsets[step], codes);
    if (--room == 0) {
      sums.move_to(tile.acc);
      room = kFlush;
    }
  }
  sums.move_to(tile.acc);
}

// 4 groups x 64 outputs -> registers of 16 outputs x 4 groups.
void interleave(__m512i line[4]) {
  const __m512i low01 = _mm512_unpacklo_epi8(line[0], line[1]);
  const __m512i high01 = _mm512_unpackhi_epi8(line[0], line[1]);
  const __m512i low23 = _mm512_unpacklo_epi8(line[2], line[3]);
  const __m512i high23 = _mm512_unpackhi_epi8(line[2], line[3]);
  line[0] = _mm512_unpacklo_epi16(low01, low23);
  line[1] = _mm512_unpackhi_epi16(low01, low23);
  line[2] = _mm512_unpacklo_epi16(high01, high23);
  line[3] = _mm512_unpackhi_epi16(high01, high23);
}

template <int kWords, int kPixels>
void accumulate_gain(const Tile &tile) {
  __m512i acc[kPixels][4];
  for (int p = 0; p < kPixels; ++p) {
    for (int q = 0; q < 4; ++q) acc[p][q] = load(tile.start + 16 * q);
  }
  const uint8_t *codes = tile.codes;
  const int8_t *gains = tile.gains;
  const uint8_t *tables[kPixels];
  for (int p = 0; p < kPixels; ++p) tables[p] = tile.tables[p];
  int64_t step = 0;
  do {
    const ptrdiff_t at = tile.offsets[step];
    for (int p = 0; p < kPixels; ++p) {
      __m512i entry[4];
      for (int j = 0; j < kVectorGroups; ++j) {
        const Table<kWords> table(tables[p] + at + j * kWords);
        entry[j] = table[load(codes + j * kRegister)];
      }
      interleave(entry);
      for (int q = 0; q < 4; ++q) {
        acc[p][q] = multiply_add(acc[p][q], entry[q], load(gains + q * kRegister));
      }
    }
    codes += kCell;
    gains += kCell;
  } while (++step < tile.steps);
  for (int p = 0; p < kPixels; ++p) {
    for (int q = 0; q < 4; ++q) _mm512_store_si512(tile.acc + (4 * p + q) * 16, acc[p][q]);
  }
}

template <int kCells, int kPixels>
using Lines128 = LineSums<128, kCells, kPixels>;
template <int kCells, int kPixels>
using Lines256 = LineSums<256, kCells, kPixels>;

template <bool kGain>
Accumulate choose_quads(int pixels) {
  static constexpr Accumulate kTiles[] = {accumulate_quads<kGain, 1>, accumulate_quads<kGain, 2>,
                                          accumulate_quads<kGain, 3>, accumulate_quads<kGain, 4>,
                                          accumulate_quads<kGain, 5>};
  return kTiles[pixels - 1];
}

template <template <int, int> class Sums>
Accumulate choose_short(int cells, int pixels) {
  static constexpr Accumulate kTiles[kMaxCells][5] = {
      {accumulate_short<Sums, 1, 1>, accumulate_short<Sums, 1, 2>, accumulate_short<Sums, 1, 3>,
       accumulate_short<Sums, 1, 4>, accumulate_short<Sums, 1, 5>},
      {accumulate_short<Sums, 2, 1>, accumulate_short<Sums, 2, 2>, accumulate_short<Sums, 2, 3>,
       accumulate_short<Sums, 2, 4>, accumulate_short<Sums, 2, 5>},
  };
  return kTiles[cells - 1][pixels - 1];
}

template <int kWords>
Accumulate choose_gain(int pixels) {
  static constexpr Accumulate kTiles[] = {accumulate_gain<kWords, 1>, accumulate_gain<kWords, 2>,
                                          accumulate_gain<kWords, 3>, accumulate_gain<kWords, 4>};
  return kTiles[pixels - 1];
}

bool in_quads(int words) { return words == 32; }
int most_cells(int words, bool gain) { return in_quads(words) || gain ? 1 : kMaxCells; }
int most_pixels(int words, bool, int) { return in_quads(words) ? 5 : 4; }

Accumulate choose(int words, bool gain, int cells, int pixels) {
  if (in_quads(words)) return gain ? choose_quads<true>(pixels) : choose_quads<false>(pixels);
  if (words == 64) return gain ? choose_gain<64>(pixels) : choose_short<PairSums>(cells, pixels);
  if (words == 128) return gain ? choose_gain<128>(pixels) : choose_short<Lines128>(cells, pixels);
  return gain ? choose_gain<256>(pixels) : choose_short<Lines256>(cells, pixels);
}

}  // namespace

extern const Level kAvx512 = {
    "avx512", 4, kLanes, true, code_byte, code_lane, gain_lane, build, most_cells, most_pixels,
    choose,
};

}  // namespace subbyte::conv_lut256
