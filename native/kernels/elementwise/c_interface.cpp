#include "c_interface.h"

#include "elementwise/run.h"

namespace elementwise = subbyte::elementwise;
using subbyte::c_interface::check_pointers;

int64_t subbyte_pairwise_rows(const subbyte_pairwise *job) {
  int64_t rows = 0;
  return elementwise::count_rows(job, &rows) == SUBBYTE_OK ? rows : 0;
}

int subbyte_pairwise_run(const subbyte_pairwise *job, const uint8_t *x, const uint8_t *r,
                         uint8_t *y, int64_t row_begin, int64_t row_end) {
  const elementwise::Level *level = elementwise::kLevels.active();
  if (level == nullptr) return SUBBYTE_BAD_ISA;
  const int status = check_pointers({{"job", job}, {"x", x}, {"r", r}, {"y", y}});
  if (status != SUBBYTE_OK) return status;
  return elementwise::run_pairwise(*level, *job, x, r, y, row_begin, row_end);
}

int subbyte_requantize_run(const subbyte_requantize *job, const uint8_t *x, uint8_t *y) {
  const int status = check_pointers({{"job", job}, {"x", x}, {"y", y}});
  return status == SUBBYTE_OK ? elementwise::run_requantize(*job, x, y) : status;
}

int subbyte_map_run(const uint8_t *table, const uint8_t *x, uint8_t *y, int64_t begin,
                    int64_t end) {
  const elementwise::Level *level = elementwise::kLevels.active();
  if (level == nullptr) return SUBBYTE_BAD_ISA;
  const int status = check_pointers({{"table", table}, {"x", x}, {"y", y}});
  return status == SUBBYTE_OK ? elementwise::run_map(*level, table, x, y, begin, end) : status;
}

int subbyte_shuffle_run(const subbyte_shuffle *job, const uint8_t *x, uint8_t *y, int64_t begin,
                        int64_t end) {
  const elementwise::Level *level = elementwise::kLevels.active();
  if (level == nullptr) return SUBBYTE_BAD_ISA;
  const int status = check_pointers({{"job", job}, {"x", x}, {"y", y}});
  return status == SUBBYTE_OK ? elementwise::run_shuffle(*level, *job, x, y, begin, end) : status;
}

int subbyte_pool_run(const subbyte_pool *job, const uint8_t *x, uint8_t *y, int64_t row_begin,
                     int64_t row_end) {
  const elementwise::Level *level = elementwise::kLevels.active();
  if (level == nullptr) return SUBBYTE_BAD_ISA;
  const int status = check_pointers({{"job", job}, {"x", x}, {"y", y}});
  return status == SUBBYTE_OK ? elementwise::run_pool(*level, *job, x, y, row_begin, row_end)
                              : status;
}
