// GEMV kernels in standard C++, for any CPU: fields become bytes first, in loops that compilers
// vectorise, and so do the multiplications.
#include "gemv/level.h"

namespace subbyte::gemv {
namespace {

int group_major(int o, int j) { return j * kLanes + o; }

// Fields of kVectors vectors as bytes.
template <int kBits>
void expand(const uint8_t *fields, uint8_t (*to)[kVectorBytes]) {
  constexpr int kMask = (1 << kBits) - 1;
  if constexpr (kBits == 3) {
    for (int lane = 0; lane < kVectorBytes; ++lane) {
      const int a = fields[lane], b = fields[kVectorBytes + lane];
      const int c = fields[2 * kVectorBytes + lane];
      const int pair = a >> 6 | b >> 6 << 2 | c >> 6 << 4;
      to[0][lane] = static_cast<uint8_t>(a & kMask);
      to[1][lane] = static_cast<uint8_t>(a >> 3 & kMask);
      to[2][lane] = static_cast<uint8_t>(b & kMask);
      to[3][lane] = static_cast<uint8_t>(b >> 3 & kMask);
      to[4][lane] = static_cast<uint8_t>(c & kMask);
      to[5][lane] = static_cast<uint8_t>(c >> 3 & kMask);
      to[6][lane] = static_cast<uint8_t>(pair & kMask);
      to[7][lane] = static_cast<uint8_t>(pair >> 3);
    }
  } else {
    constexpr int kEach = 8 / kBits;
    for (int k = 0; k < kVectors; ++k) {
      const uint8_t *from = fields + k / kEach * kVectorBytes;
      for (int lane = 0; lane < kVectorBytes; ++lane) {
        to[k][lane] = static_cast<uint8_t>(from[lane] >> kBits * (k % kEach) & kMask);
      }
    }
  }
}

template <int kBits>
void lookup(const Tile &tile) {
  const uint8_t *from = tile.weights;
  const auto *tables = reinterpret_cast<const int8_t *>(tile.data);
  for (int64_t unit = 0; unit < tile.units; ++unit, tables += kTableBytes) {
    for (int b = 0; b < kTileBlocks; ++b, from += kCodeBytes) {
      uint8_t codes[kVectors][kVectorBytes], gains[kVectors][kVectorBytes];
      if constexpr (kBits > 0) expand<kBits>(from, gains);
      from += kBits * kVectorBytes;
      expand<4>(from, codes);
      int32_t *acc = tile.acc + b * kLanes;
      for (int k = 0; k < kVectors; ++k) {
        for (int lane = 0; lane < kVectorBytes; ++lane) {
          const int entry =
              tables[(k * kQuad + lane / kLanes) * conv_lut16::kWords + codes[k][lane]];
          int gain = 1;
          if constexpr (kBits > 0) gain = tile.levels[gains[k][lane]];
          acc[lane % kLanes] += gain * entry;
        }
      }
    }
  }
}

template <int kBits>
void unpack(const Tile &tile) {
  const uint8_t *from = tile.weights;
  for (int64_t unit = 0; unit < tile.units; ++unit) {
    const uint8_t *x = tile.data + unit * kUnit;
    for (int b = 0; b < kTileBlocks; ++b, from += kBits * kVectorBytes) {
      uint8_t codes[kVectors][kVectorBytes];
      expand<kBits>(from, codes);
      uint32_t acc[kLanes];
      for (int o = 0; o < kLanes; ++o) acc[o] = static_cast<uint32_t>(tile.acc[b * kLanes + o]);
      for (int i = 0; i < kUnit; ++i) {
        const uint8_t *code = codes[i / kQuad] + i % kQuad * kLanes;
        for (int o = 0; o < kLanes; ++o) {
          acc[o] += static_cast<uint32_t>(tile.levels[code[o]] * x[i]);
        }
      }
      for (int o = 0; o < kLanes; ++o) tile.acc[b * kLanes + o] = static_cast<int32_t>(acc[o]);
    }
  }
}

Accumulate choose_lookup(int bits, int) {
  static constexpr Accumulate kTiles[] = {lookup<0>, lookup<1>, lookup<2>, lookup<3>, lookup<4>};
  return kTiles[bits];
}

Accumulate choose_unpack(int bits, int) {
  static constexpr Accumulate kTiles[] = {unpack<2>, unpack<3>, unpack<4>};
  return kTiles[bits - 2];
}

}  // namespace

extern const Level kPortable = {
    "portable",   1, false, group_major, group_major, group_major, choose_lookup,
    choose_unpack,
};

}  // namespace subbyte::gemv
