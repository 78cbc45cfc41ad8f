// What this CPU can do at most: loops of the kernels' instructions alone, on registers, and
// reading memory. benchmarks/native_ceilings.py compiles and times them.
#include <immintrin.h>

#include <cstdint>

namespace {

constexpr int kSums = 8;  // independent ones: latency times throughput, and more

struct LookUp {
  static void step(__m512i &sum, __m512i a, __m512i b) {
    __m512i entry;
    __asm__ volatile("vpermb %2, %1, %0" : "=v"(entry) : "v"(a), "v"(b));
    __asm__ volatile("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(entry));
  }
};

struct Count {
  static void step(__m512i &sum, __m512i a, __m512i b) {
    __m512i bits;
    __asm__ volatile("vpxorq %2, %1, %0" : "=v"(bits) : "v"(a), "v"(b));
    __asm__ volatile("vpopcntq %0, %0" : "+v"(bits));
    __asm__ volatile("vpaddq %1, %0, %0" : "+v"(sum) : "v"(bits));
  }
};

struct Multiply {
  static void step(__m512i &sum, __m512i a, __m512i b) {
    __asm__ volatile("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  }
};

// Single variables: GCC 12 keeps an array of them in memory.
template <typename Kind>
void repeat(int64_t rounds) {
  const __m512i a = _mm512_set1_epi8(5), b = _mm512_set1_epi8(3);
  __m512i s0 = a, s1 = a, s2 = a, s3 = a, s4 = a, s5 = a, s6 = a, s7 = a;
  for (int64_t round = 0; round < rounds; ++round) {
    Kind::step(s0, a, b), Kind::step(s1, a, b), Kind::step(s2, a, b), Kind::step(s3, a, b);
    Kind::step(s4, a, b), Kind::step(s5, a, b), Kind::step(s6, a, b), Kind::step(s7, a, b);
  }
}

}  // namespace

extern "C" {

int64_t ceiling_steps() { return kSums; }

// 64 look-ups, 512 products of signs, 64 products of bytes a step.
void ceiling_look_up(int64_t rounds) { repeat<LookUp>(rounds); }
void ceiling_count(int64_t rounds) { repeat<Count>(rounds); }
void ceiling_multiply(int64_t rounds) { repeat<Multiply>(rounds); }

// Read `bytes`, a multiple of 256.
void ceiling_read(const char *from, int64_t bytes) {
  __m512i all = _mm512_setzero_si512();
  for (const char *const end = from + bytes; from != end; from += 256) {
    const __m512i first = _mm512_add_epi64(_mm512_loadu_si512(from), _mm512_loadu_si512(from + 64));
    const __m512i second =
        _mm512_add_epi64(_mm512_loadu_si512(from + 128), _mm512_loadu_si512(from + 192));
    all = _mm512_add_epi64(all, _mm512_add_epi64(first, second));
  }
  __asm__ volatile("" : : "v"(all));
}

}  // extern "C"
