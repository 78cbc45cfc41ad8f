// For any CPU.
#include "elementwise/stages.h"

namespace subbyte::elementwise {

extern const Level kPortable = {
    "portable", pairwise<false>, pairwise<true>, max_window, average_window, map_codes, shuffle,
};

}  // namespace subbyte::elementwise
