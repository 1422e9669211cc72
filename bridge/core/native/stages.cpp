// Names and arities of the stages (kernel_spec.h), from the one list in stages.def.
#include <cstring>

#include "kernel_spec.h"

namespace bridge {
namespace {

struct StageInfo {
  const char* name;
  int arity;
};

constexpr StageInfo kStages[kStageCount] = {
#define BRIDGE_STAGE(name, arity) {#name, arity},
#include "stages.def"
#undef BRIDGE_STAGE
};

}  // namespace

const char* stage_name(Stage stage) { return kStages[static_cast<int>(stage)].name; }

int stage_arity(Stage stage) { return kStages[static_cast<int>(stage)].arity; }

int find_stage(const char* name) {
  for (int i = 0; i < kStageCount; i++)
    if (std::strcmp(kStages[i].name, name) == 0) return i;
  return -1;
}

}  // namespace bridge
