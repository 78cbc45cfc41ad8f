// Layouts, and tables by themselves: every level equals the reference.
#include <cstring>

#include "check.h"
#include "layers.h"

namespace {

using namespace subbyte::conv_lut16;
using layers::Aligned;
using layers::Random;
using layers::pick;

std::vector<const Level *> here() {
  std::vector<const Level *> levels;
  for (const Level *level : kLevels) {
    if (kLevels.at(level->name) == level) levels.push_back(level);
  }
  return levels;
}

TEST(layouts_are_permutations) {
  for (const Level *level : here()) {
    std::vector<int> entries(kVectorBytes), codes(kVectorBytes), gains(kVectorBytes);
    for (int j = 0; j < kVectorGroups; ++j) {
      for (int i = 0; i < kLanes; ++i) {
        ++entries.at(static_cast<size_t>(level->table_lane(j, i)));
        ++codes.at(static_cast<size_t>(level->code_lane(i, j)));
        ++gains.at(static_cast<size_t>(level->gain_lane(i, j)));
      }
    }
    const std::vector<int> once(kVectorBytes, 1);
    CHECK(entries == once && codes == once && gains == once);
  }
}

// Entries [pixel][group][word] of one level, from a codebook [group][word][d].
std::vector<int> entries(const Level &level, const std::vector<int8_t> &codebook, int d,
                         const std::vector<int16_t> &start, std::vector<uint8_t> x, int64_t count,
                         int64_t vectors, int shift, bool gain) {
  const int chunks = (d + level.chunk - 1) / level.chunk;
  const int64_t groups = vectors * kVectorGroups;
  const auto words = static_cast<size_t>(groups * kWords);
  Aligned packed(words * static_cast<size_t>(chunks * level.chunk)), starts(words * 2);
  Aligned tables(static_cast<size_t>(count * vectors * kVectorBytes));
  auto *to = static_cast<int8_t *>(packed.data());
  for (int64_t word = 0; word < groups * kWords; ++word) {
    for (int i = 0; i < d; ++i) {
      to[((word / kWords * chunks + i / level.chunk) * kWords + word % kWords) * level.chunk +
         i % level.chunk] = codebook[static_cast<size_t>(word * d + i)];
    }
  }
  std::memcpy(starts.data(), start.data(), words * 2);
  x.resize(x.size() + 16);  // what a build may read behind the last word
  TableJob job = {};
  job.x = x.data();
  job.x_stride = groups * d;
  job.count = count;
  job.codebook = to;
  job.start = static_cast<const int16_t *>(starts.data());
  job.vectors = vectors;
  job.word_length = d;
  job.chunks = chunks;
  job.shift = shift;
  job.flip = level.flip[gain] ? 0x80 : 0;
  job.tables = static_cast<uint8_t *>(tables.data());
  job.table_stride = vectors * kVectorBytes;
  level.build(job);
  std::vector<int> all;
  for (int64_t group = 0; group < count * groups; ++group) {
    const uint8_t *vector = job.tables + group / kVectorGroups * kVectorBytes;
    for (int c = 0; c < kWords; ++c) {
      const int lane = level.table_lane(static_cast<int>(group % kVectorGroups), c);
      all.push_back(static_cast<int8_t>(vector[lane] ^ job.flip));
    }
  }
  return all;
}

TEST(build) {
  Random random(1);
  for (int i = 0; i < 100; ++i) {
    const int d = pick(random, 1, 16), shift = pick(random, 0, 8);
    const int64_t count = pick(random, 1, 9), vectors = pick(random, 1, 3);
    const int64_t words = vectors * kVectorGroups * kWords;
    std::vector<int8_t> codebook;
    for (int64_t w = 0; w < words * d; ++w) {
      codebook.push_back(static_cast<int8_t>(pick(random, -126 / d, 126 / d)));
    }
    std::vector<int16_t> start;
    for (int64_t w = 0; w < words; ++w) {
      start.push_back(static_cast<int16_t>(pick(random, -600, 600)));
    }
    std::vector<uint8_t> x;
    for (int64_t v = 0; v < count * vectors * kVectorGroups * d; ++v) {
      x.push_back(static_cast<uint8_t>(pick(random, 0, 255)));
    }
    const auto expected =
        entries(kReference, codebook, d, start, x, count, vectors, shift, false);
    for (const Level *level : here()) {
      for (bool gain : {false, true}) {
        CHECK(entries(*level, codebook, d, start, x, count, vectors, shift, gain) == expected);
      }
    }
  }
}

}  // namespace

int main(int argc, char **argv) { return check::main(argc, argv); }
