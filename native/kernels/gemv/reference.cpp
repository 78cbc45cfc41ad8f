// The GEMV kernels as plain loops over the layout of level.h.
#include "gemv/level.h"

namespace subbyte::gemv {
namespace {

int output_major(int o, int j) { return o * kQuad + j; }

int field(const uint8_t *fields, int bits, int k, int lane) {
  const uint8_t *at = fields + lane;
  if (bits == 3 && k >= 6) {
    const int pair = at[0] >> 6 | at[kVectorBytes] >> 6 << 2 | at[2 * kVectorBytes] >> 6 << 4;
    return pair >> 3 * (k - 6) & 7;
  }
  const int each = 8 / bits;
  return at[k / each * kVectorBytes] >> bits * (k % each) & ((1 << bits) - 1);
}

template <int kBits>
void lookup(const Tile &tile) {
  for (int64_t unit = 0; unit < tile.units; ++unit) {
    for (int o = 0; o < kTile; ++o) {
      const uint8_t *gains =
          tile.weights + (unit * kTileBlocks + o / kLanes) * (kBits * kVectorBytes + kCodeBytes);
      const uint8_t *codes = gains + kBits * kVectorBytes;
      for (int g = 0; g < kUnit; ++g) {
        const int k = g / kQuad, lane = output_major(o % kLanes, g % kQuad);
        const int code = field(codes, 4, k, lane);
        const auto entry =
            static_cast<int8_t>(tile.data[(unit * kUnit + g) * conv_lut16::kWords + code]);
        int gain = 1;
        if constexpr (kBits > 0) gain = tile.levels[field(gains, kBits, k, lane)];
        tile.acc[o] += gain * entry;
      }
    }
  }
}

template <int kBits>
void unpack(const Tile &tile) {
  for (int64_t unit = 0; unit < tile.units; ++unit) {
    for (int o = 0; o < kTile; ++o) {
      const uint8_t *fields =
          tile.weights + (unit * kTileBlocks + o / kLanes) * kBits * kVectorBytes;
      // Unsigned: a sum may pass int32 on its way to a result within it.
      auto sum = static_cast<uint32_t>(tile.acc[o]);
      for (int i = 0; i < kUnit; ++i) {
        const int code = field(fields, kBits, i / kQuad, output_major(o % kLanes, i % kQuad));
        sum += static_cast<uint32_t>(tile.levels[code] * tile.data[unit * kUnit + i]);
      }
      tile.acc[o] = static_cast<int32_t>(sum);
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

extern const Level kReference = {
    "reference",  1, false, output_major, output_major, output_major, choose_lookup,
    choose_unpack,
};

}  // namespace subbyte::gemv
