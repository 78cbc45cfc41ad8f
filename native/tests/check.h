// A test runner in one header: TEST(name) { CHECK(...); CHECK_EQUAL(a, b); } and one main.
#pragma once

#include <cstdio>
#include <cstring>
#include <exception>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace check {

struct Test {
  const char *name;
  void (*run)();
};

inline std::vector<Test> &tests() {
  static std::vector<Test> all;
  return all;
}

struct Register {
  Register(const char *name, void (*run)()) { tests().push_back({name, run}); }
};

[[noreturn]] inline void failed(const char *file, int line, const std::string &what) {
  std::ostringstream text;
  text << file << ":" << line << ": " << what;
  throw std::runtime_error(text.str());
}

template <typename A, typename B>
void equal(const char *file, int line, const char *what, const A &a, const B &b) {
  if (a == b) return;
  std::ostringstream text;
  text << what << ": " << a << " is not " << b;
  failed(file, line, text.str());
}

// Runs the tests whose names contain argv[1], all without it.
inline int main(int argc, char **argv) {
  int failures = 0, run = 0;
  for (const Test &test : tests()) {
    if (argc > 1 && std::strstr(test.name, argv[1]) == nullptr) continue;
    ++run;
    try {
      test.run();
      std::cout << "ok   " << test.name << std::endl;
    } catch (const std::exception &error) {
      ++failures;
      std::cout << "FAIL " << test.name << ": " << error.what() << std::endl;
    }
  }
  std::cout << run - failures << " of " << run << " passed" << std::endl;
  return failures > 0 || run == 0 ? 1 : 0;
}

}  // namespace check

#define TEST(name)                                            \
  static void name();                                         \
  static const check::Register register_##name(#name, &name); \
  static void name()

#define CHECK(condition)                                             \
  do {                                                               \
    if (!(condition)) check::failed(__FILE__, __LINE__, #condition); \
  } while (false)

#define CHECK_EQUAL(a, b) check::equal(__FILE__, __LINE__, #a " == " #b, a, b)
