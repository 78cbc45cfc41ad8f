// Checks of what every kernel's run function is given.
#pragma once

#include "subbyte/subbyte.h"

namespace subbyte {

// SUBBYTE_OK, or an error with last_error() set.
int check_output(const subbyte_output *output);
int check_rows(int64_t begin, int64_t end, int64_t total);
int check_pointer(const char *name, const void *pointer, uintptr_t alignment = 1);
// The buffers of a run function, but for x.
int check_buffers(const void *packed, const subbyte_output *output, const void *y,
                  const void *scratch);
// That a packed buffer begins with the header of this layer and level.
int check_header(const void *packed, const void *header, size_t size, const char *level);

}  // namespace subbyte
