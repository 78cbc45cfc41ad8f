#include "ort/interface/error.h"

#include <new>

#include "subbyte/subbyte.h"

namespace subbyte::ort {

Error wrong(const std::string &what, const std::string &expected, const std::string &got) {
  return Error(what + ": expected " + expected + ", got " + got);
}

std::string shape_text(const int64_t *dims, size_t count) {
  std::string text = "[";
  for (size_t i = 0; i < count; ++i) text += (i ? ", " : "") + std::to_string(dims[i]);
  return text + "]";
}

void check(OrtStatus *status) {
  if (status == nullptr) return;
  Error error(api.GetErrorMessage(status));
  api.ReleaseStatus(status);
  throw error;
}

void check_kernel(int code) {
  if (code != SUBBYTE_OK) throw Error(subbyte_error());
}

OrtStatus *as_status(const std::string &node) noexcept {
  try {
    throw;
  } catch (const std::bad_alloc &) {
    return api.CreateStatus(kFail, "subbyte: out of memory");
  } catch (const std::exception &error) {
    try {
      const std::string text = "subbyte " + node + ": " + error.what();
      return api.CreateStatus(kInvalidArgument, text.c_str());
    } catch (const std::bad_alloc &) {
      return api.CreateStatus(kFail, "subbyte: out of memory");
    }
  }
}

}  // namespace subbyte::ort
