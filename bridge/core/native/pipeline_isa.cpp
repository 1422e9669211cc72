// The hot loops, compiled once per ISA: -DBRIDGE_ISA_NS=isa_v2|isa_v3|isa_v4|isa_neon|isa_generic with the matching -march
// (pipeline.cmake). A function that two of these builds shared could be linked in its AVX-512 copy for everybody, so: no standard
// library, no inline function of a shared header, everything internal to an ISA-named namespace except the one table at the end, hidden
// visibility. tools/check_isa.py proves it on the objects.
#include "isa_intrinsics.h"
#include "pipeline_table.h"

namespace bridge::pipeline::BRIDGE_ISA_NS {
namespace {

// In this order: each uses the ones before.
#include "pipeline_ops.inc"

#include "pipeline_cast.inc"

#include "pipeline_loops.inc"

#include "pipeline_vector.inc"

#include "pipeline_math.inc"

#include "pipeline_exact.inc"

#include "pipeline_math64.inc"

#include "pipeline_register.inc"

}  // namespace

static constexpr StripTable whole_strip_table() {
  StripTable table = make_strip_table();
  fill_wide_math(table);
  table.stage[kStage_erfinv][static_cast<int>(DType::float64)] = erfinv_of_doubles;
  return table;
}
extern const StripTable strip_table;
constexpr StripTable strip_table = whole_strip_table();

void fill_register_table(RegisterTable& table);
void fill_register_table(RegisterTable& table) { fill_table(table); }

}  // namespace bridge::pipeline::BRIDGE_ISA_NS
