// The calling thread's last error, for subbyte_error().
#pragma once

namespace subbyte {

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
int fail(int code, const char *format, ...);  // returns code

const char *last_error();

}  // namespace subbyte
