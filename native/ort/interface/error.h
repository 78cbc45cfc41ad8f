// Errors inside the operator library. They are thrown here and become an OrtStatus where
// ONNX Runtime has called: none crosses the C boundary, and kernels throw none.
#pragma once

#include <exception>
#include <string>

#include "ort/interface/api.h"

namespace subbyte::ort {

struct Error : std::exception {
  explicit Error(std::string text) : message(std::move(text)) {}
  const char *what() const noexcept override { return message.c_str(); }
  std::string message;
};

// "what: expected ..., got ..."
Error wrong(const std::string &what, const std::string &expected, const std::string &got);

std::string shape_text(const int64_t *dims, size_t count);

// Throw an Error with the status's message, if there is one.
void check(OrtStatus *status);

// Throw an Error with subbyte_error(), if `code` is not SUBBYTE_OK.
void check_kernel(int code);

// The OrtStatus of the exception being handled, "subbyte NODE: message".
OrtStatus *as_status(const std::string &node) noexcept;

}  // namespace subbyte::ort
