#include "codebook.h"

#include "error.h"
#include "subbyte/subbyte.h"

namespace subbyte {
namespace {

// Sums of a word's positive and negative parts; at most this, its inner product with any
// (x - zero) stays within 126 * 255, and with the rounding constant within int16.
constexpr int kPartLimit = 126;
constexpr int kGainLimit = 64;

int bad_value(const char *what, int64_t at, const char *expected, int got) {
  return fail(SUBBYTE_BAD_DATA, "%s: expected %s, got %d at %lld", what, expected, got,
              static_cast<long long>(at));
}

}  // namespace

int check_code_count(int64_t taps, int64_t codes) {
  if (taps <= kMostCodes / codes) return SUBBYTE_OK;
  return fail(SUBBYTE_BAD_SHAPE, "kernel taps times codes: expected at most %lld, got %lld * %lld",
              static_cast<long long>(kMostCodes), static_cast<long long>(taps),
              static_cast<long long>(codes));
}

int check_codes(const char *what, const uint8_t *codes, int64_t count, int levels) {
  for (int64_t i = 0; i < count; ++i) {
    if (codes[i] >= levels) {
      return fail(SUBBYTE_BAD_DATA, "%s: expected less than %d, got %d at %lld", what, levels,
                  codes[i], static_cast<long long>(i));
    }
  }
  return SUBBYTE_OK;
}

int check_gains(const int8_t *gains, int levels) {
  for (int i = 0; i < levels; ++i) {
    if (gains[i] < -kGainLimit || gains[i] > kGainLimit) {
      return bad_value("gains", i, "-64 to 64", gains[i]);
    }
  }
  return SUBBYTE_OK;
}

int check_words(const int8_t *codebook, int64_t words, int word_length) {
  for (int64_t word = 0; word < words; ++word) {
    int above = 0, below = 0;
    for (int i = 0; i < word_length; ++i) {
      const int value = codebook[word * word_length + i];
      (value > 0 ? above : below) += value;
    }
    if (above > kPartLimit || -below > kPartLimit) {
      return bad_value("codebook", word, "positive and negative entries that sum to 126 at most",
                       above > kPartLimit ? above : below);
    }
  }
  return SUBBYTE_OK;
}

void Codebook::pack(const int8_t *codebook, int8_t *packed, int16_t *start) const {
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t book = shared ? 0 : g;
    const int half = rounding_half(shift, g);
    for (int c = 0; c < words; ++c) {
      const int64_t unit = (g * words + c) / kUnit;
      int sum = 0;
      for (int i = 0; i < word_length && g * word_length + i < channels; ++i) {
        const int8_t value = codebook[(book * words + c) * word_length + i];
        packed[((unit * chunks + i / chunk) * kUnit + c % kUnit) * chunk + i % chunk] = value;
        sum += value;
      }
      start[g * words + c] = static_cast<int16_t>(half - input_zero * sum);
    }
  }
}

}  // namespace subbyte
