#include "ort/kernel.h"
namespace subbyte::ort {
void add_pointwise(std::vector<Operator> *) {}
}
