// The dot product of bytes in 512 bits.
// Everything is in an unnamed namespace: no other file's copy can take its place (isa/sets.h.in).
#pragma once

#include <immintrin.h>

namespace subbyte::dot_products {
namespace {

// sum + a * b by four unsigned and signed bytes each. GCC 12 copies the sum of its intrinsic
// through a second register, and in loops through memory.
inline __m512i multiply_add(__m512i sum, __m512i a, __m512i b) {
#if defined(__clang__)
  return _mm512_dpbusd_epi32(sum, a, b);
#else
  __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  return sum;
#endif
}

}  // namespace
}  // namespace subbyte::dot_products
