// One operator of domain subbyte, and the kernels that are made for its nodes.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ort/interface/tensor.h"

namespace subbyte::ort {

class Kernel {
 public:
  virtual ~Kernel() = default;
  // Called on several threads at a time. Throws an Error.
  virtual void compute(const KernelContext &context) const = 0;

  std::string node;  // for errors
};

// The shape of the output, -1 where it is not known; symbol[i] names an unknown dimension.
struct InferredShape {
  Dims dims;
  std::vector<std::string> symbols;
};

class ShapeContext;

struct Operator {
  std::string name;
  std::vector<Type> inputs;
  Type output = Type::kUint8;
  std::function<std::unique_ptr<Kernel>(const KernelInfo &)> make;
  // False where the shape cannot be told.
  std::function<bool(const ShapeContext &, InferredShape *)> infer;
};

// The operators of each file of this folder.
void add_layers(std::vector<Operator> *operators);
void add_pairwise(std::vector<Operator> *operators);
void add_unary(std::vector<Operator> *operators);
void add_shuffle(std::vector<Operator> *operators);
void add_pools(std::vector<Operator> *operators);

}  // namespace subbyte::ort
