// For AVX2.
#include "nhwc/stages.h"

namespace subbyte::nhwc {

extern const Level kAvx2 = {"avx2", pairwise<false>, pairwise<true>, max_window, average_window};

}  // namespace subbyte::nhwc
