// A table of 256 bytes, looked up for 64 codes at a time: two look-ups in 128 entries (VBMI).
// Everything is in an unnamed namespace: no other file's copy can take its place (isa/sets.h.in).
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace subbyte::byte_table {
namespace {

constexpr int64_t kLanes = 64;

struct Table {
  __m512i part[4];
};

inline Table load(const uint8_t *bytes) {
  Table table;
  for (int k = 0; k < 4; ++k) table.part[k] = _mm512_loadu_si512(bytes + k * kLanes);
  return table;
}

inline __m512i look_up(const Table &table, __m512i codes) {
  const __m512i low = _mm512_permutex2var_epi8(table.part[0], codes, table.part[1]);
  const __m512i high = _mm512_permutex2var_epi8(table.part[2], codes, table.part[3]);
  return _mm512_mask_blend_epi8(_mm512_movepi8_mask(codes), low, high);
}

}  // namespace
}  // namespace subbyte::byte_table
