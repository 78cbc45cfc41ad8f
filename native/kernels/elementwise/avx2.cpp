// For AVX2.
#include "elementwise/stages.h"

namespace subbyte::elementwise {

extern const Level kAvx2 = {"avx2", pairwise<false>, pairwise<true>, max_window, average_window};

}  // namespace subbyte::elementwise
