// A table of 256 bytes, looked up for sixteen codes at a time. A look-up in 64 entries gives 0, or
// leaves y as it is, where the index is beyond.
// Everything is in an unnamed namespace: no other file's copy can take its place (isa/sets.h.in).
#pragma once

#include <arm_neon.h>

#include <cstdint>

namespace subbyte::byte_table {
namespace {

constexpr int kLanes = 16, kPart = 64;

struct Table {
  uint8x16x4_t part[4];
};

inline Table load(const uint8_t *bytes) {
  return {{vld1q_u8_x4(bytes), vld1q_u8_x4(bytes + kPart), vld1q_u8_x4(bytes + 2 * kPart),
           vld1q_u8_x4(bytes + 3 * kPart)}};
}

inline uint8x16_t look_up(const Table &table, uint8x16_t codes) {
  uint8x16_t found = vqtbl4q_u8(table.part[0], codes);
  found = vqtbx4q_u8(found, table.part[1], vsubq_u8(codes, vdupq_n_u8(kPart)));
  found = vqtbx4q_u8(found, table.part[2], vsubq_u8(codes, vdupq_n_u8(2 * kPart)));
  return vqtbx4q_u8(found, table.part[3], vsubq_u8(codes, vdupq_n_u8(3 * kPart)));
}

// y[i] = bytes[x[i]]; y may be x.
inline void map(const uint8_t *bytes, const Table &table, const uint8_t *x, int64_t count,
                uint8_t *y) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) vst1q_u8(y + i, look_up(table, vld1q_u8(x + i)));
  for (; i < count; ++i) y[i] = bytes[x[i]];
}

}  // namespace
}  // namespace subbyte::byte_table
