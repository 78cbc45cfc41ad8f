// For AVX2.
#include <immintrin.h>

#include "byte_table/avx2.h"
#include "elementwise/stages.h"

namespace subbyte::elementwise {
namespace {

void map(const uint8_t *table, const uint8_t *x, int64_t count, uint8_t *y) {
  byte_table::map(table, byte_table::load(table), x, count, y);
}

}  // namespace

extern const Level SUBBYTE_LEVEL = {
    SUBBYTE_LEVEL_NAME, pairwise<false>, pairwise<true>, max_window, average_window, map, shuffle,
};

}  // namespace subbyte::elementwise
