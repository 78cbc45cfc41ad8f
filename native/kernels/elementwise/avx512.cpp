// For AVX-512.
#include "elementwise/stages.h"

namespace subbyte::elementwise {

extern const Level kAvx512 = {"avx512", pairwise<false>, pairwise<true>, max_window, average_window};

}  // namespace subbyte::elementwise
