#include "error.h"

#include <cstdarg>
#include <cstdio>

namespace subbyte {
namespace {

thread_local char message[256] = "";

}  // namespace

int fail(int code, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  return code;
}

const char *last_error() { return message; }

}  // namespace subbyte
