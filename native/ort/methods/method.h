// A method of docs/format.md: how its nodes have their weights. A file each in this folder, and a
// row of kMethods.
#pragma once

#include "ort/weights/weights.h"

namespace subbyte::ort {

// How x is binarized: subbyte_conv_binary's order, 0 where it is not, and scales.
struct Binarization {
  int32_t order = 0, scales = 0;
};

struct Method {
  const char *name;  // with which the names of its operators begin
  // Of the packed arrays, the node's inputs from 1 on.
  size_t count;
  Type types[10];
  // Whether its operators come with every binarization of x, named BinaryColumn1 and so on.
  bool binarizes;
  // Read, check and pack. `geometry` has everything but the size of x; taps and channels are held
  // against the node's attributes.
  Coded (*read)(const KernelInfo &info, const Geometry &geometry, const Binarization &x);
};

extern const Method kProduct, kProductGain, kScalar, kTernary, kComposite, kCompositeFactored,
    kBinary;

constexpr const Method *kMethods[] = {&kProduct,   &kProductGain,       &kScalar, &kTernary,
                                      &kComposite, &kCompositeFactored, &kBinary};

// What methods share.
struct WeightShape {
  int64_t outputs, taps, channels;  // weight_shape; channels of one group
  int64_t groups;                   // of the convolution; a divisor of outputs

  int64_t count() const { return outputs * taps * channels; }  // at most 2^40
};

// Of the node; throws an Error where it is not that of `geometry`.
WeightShape read_shape(const KernelInfo &info, const Geometry &geometry);

// The same for methods whose weights the size of a file does not bound: zeros after the last one
// of a plane take no room, nor does more than its factors a product. At most 2^30 weights.
WeightShape read_decoded_shape(const KernelInfo &info, const Geometry &geometry);

constexpr char kTableShift[] = "table_shift";
int32_t table_shift(const KernelInfo &info);

}  // namespace subbyte::ort
