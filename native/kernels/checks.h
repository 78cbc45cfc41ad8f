// Checks of the arguments of every kernel's functions.
#pragma once

#include <cstddef>
#include <cstring>

#include "subbyte/subbyte.h"

namespace subbyte {

// These return SUBBYTE_OK, or an error with last_error() set.
int check_output(const subbyte_output *output);
int check_rows(int64_t begin, int64_t end, int64_t total);
int check_pointer(const char *name, const void *pointer, uintptr_t alignment = 1);
// The buffers of a run function, but for x.
int check_buffers(const void *packed, const subbyte_output *output, const void *y,
                  const void *scratch);

// Every packed buffer starts with this, so that weights packed for another level or layer are
// refused. The last field is the kernel's mark.
template <size_t kFields>
struct PackedHeader {
  char level[16];
  int64_t fields[kFields];
};

template <size_t kFields>
PackedHeader<kFields> make_header(const char *level, const int64_t (&fields)[kFields]) {
  PackedHeader<kFields> made = {};
  std::strncpy(made.level, level, sizeof made.level - 1);
  std::memcpy(made.fields, fields, sizeof fields);
  return made;
}

int wrong_header(const char *level);

// That a packed buffer begins with the header of this layer and level.
template <size_t kFields>
int check_header(const void *packed, const PackedHeader<kFields> &header) {
  return std::memcmp(packed, &header, sizeof header) == 0 ? SUBBYTE_OK : wrong_header(header.level);
}

}  // namespace subbyte
