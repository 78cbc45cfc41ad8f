// Dot products in 256 bits: of AVX-VNNI, of AVX-512 with VNNI, or without either.
// Everything is in an unnamed namespace: no other file's copy can take its place (isa/sets.h.in).
#pragma once

#include <immintrin.h>

namespace subbyte::dot_products {
namespace {

#if defined(__AVXVNNI__) || defined(__AVX512VNNI__)

// sum + a * b by four unsigned and signed bytes each. GCC 12 copies the sum of its intrinsics
// through a second register, and in loops through memory.
inline __m256i multiply_add(__m256i sum, __m256i a, __m256i b) {
#if defined(__clang__) && defined(__AVXVNNI__)
  return _mm256_dpbusd_avx_epi32(sum, a, b);
#elif defined(__clang__)
  return _mm256_dpbusd_epi32(sum, a, b);
#elif defined(__AVXVNNI__)
  __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(a), "xm"(b));
  return sum;
#else
  __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "vm"(b));
  return sum;
#endif
}

#endif

// sums + the even or the odd ones of int16 products; vpdpwssd is both instructions at once.
inline __m256i add_even(__m256i sums, __m256i products) {
  const __m256i even = _mm256_set1_epi32(1);
#if defined(__AVXVNNI__)
  return _mm256_dpwssd_avx_epi32(sums, products, even);
#elif defined(__AVX512VNNI__)
  return _mm256_dpwssd_epi32(sums, products, even);
#else
  return _mm256_add_epi32(sums, _mm256_madd_epi16(products, even));
#endif
}

inline __m256i add_odd(__m256i sums, __m256i products) {
#if defined(__AVXVNNI__)
  return _mm256_dpwssd_avx_epi32(sums, products, _mm256_set1_epi32(1 << 16));
#elif defined(__AVX512VNNI__)
  return _mm256_dpwssd_epi32(sums, products, _mm256_set1_epi32(1 << 16));
#else
  return _mm256_add_epi32(sums, _mm256_srai_epi32(products, 16));
#endif
}

}  // namespace
}  // namespace subbyte::dot_products
