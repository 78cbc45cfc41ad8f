// For any CPU.
#include "elementwise/stages.h"

namespace subbyte::elementwise {

extern const Level kPortable = {"portable", pairwise<false>, pairwise<true>, max_window, average_window};

}  // namespace subbyte::elementwise
