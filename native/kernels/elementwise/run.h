// Checks of the jobs of subbyte/elementwise.h, and their walk, for any level.
#pragma once

#include "elementwise/level.h"
#include "isa/levels.h"
#include "subbyte/elementwise.h"

namespace subbyte::elementwise {

constexpr isa::Levels<Level> kLevels = {{SUBBYTE_ISA_SETS(SUBBYTE_ISA_LEVEL)}};

// These return SUBBYTE_OK, or an error with last_error() set.
int count_rows(const subbyte_pairwise *job, int64_t *rows);
int run_pairwise(const Level &level, const subbyte_pairwise &job, const uint8_t *x,
                 const uint8_t *r, uint8_t *y, int64_t begin, int64_t end);
int run_requantize(const subbyte_requantize &job, const uint8_t *x, uint8_t *y);
int run_shuffle(const Level &level, const subbyte_shuffle &job, const uint8_t *x, uint8_t *y,
                int64_t begin, int64_t end);
int run_map(const Level &level, const uint8_t *table, const uint8_t *x, uint8_t *y, int64_t begin,
            int64_t end);
int run_pool(const Level &level, const subbyte_pool &job, const uint8_t *x, uint8_t *y,
             int64_t begin, int64_t end);

}  // namespace subbyte::elementwise
