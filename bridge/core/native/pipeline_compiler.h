// How a Program is put together (pipeline_program.cpp: what runs as what and where strips lie; pipeline_segment.cpp: the words of the
// register pipeline).
#pragma once
#include "pipeline.h"

namespace bridge::pipeline {

// RegisterCode of a stage on float32; -1: there is none. Binary codes are the first of four forms.
int unary_code(Stage);
int binary_code(Stage);

class Compiler {
 public:
  Compiler(Plan& plan, const KernelSpec& spec)
      : plan_(plan), spec_(spec), program_(plan.program), layout_(plan.layout) {}
  void compile();

 private:
  static constexpr int kForever = 1 << 30;

  // ---- the shape of things
  int n_values() const { return spec_.n_inputs + spec_.n_tape; }
  bool is_input(int v) const { return v < spec_.n_inputs; }
  const Instr& instr_of(int v) const { return spec_.tape[v - spec_.n_inputs]; }
  DType dtype_of(int v) const { return is_input(v) ? spec_.inputs[v].dtype : instr_of(v).out; }
  bool is_constant(int v) const {
    return is_input(v) && (program_.source[v] == Source::scalar || program_.source[v] == Source::splat);
  }
  bool in_place(const Access&) const;
  bool overlaps_input(const Access&) const;
  bool comes_last(int v) const;
  bool is_bound(int v) const;
  bool streams(int j) const;
  [[noreturn]] void refuse(const Instr&) const;
  bool suits_registers(const Instr&, int open_segment) const;

  // ---- passes
  void mark_needed();
  void choose_walk();
  void bind_input(int k);
  void bind_output(int j);
  void form_segments();
  void emit_all();
  void store_rest(int j);
  int strip_bytes(int place) const;
  void assign_slots();

  // ---- strip loops
  void emit(StripFn fn, int d, int a, int b, int c);
  int strip_of(int v);  // place of v as a strip, made if need be
  void emit_strip(int i);
  void touch(int place);

  // ---- segments (pipeline_segment.cpp)
  struct Operand {
    int place;  // -1: v cannot be an operand as it is
    bool splat;
  };
  void open_segment(int number, int first_instr);
  void close_segment();
  void word(int code, int place = -1);
  Operand operand(int v) const;
  void keep_accumulator();
  void spill(int v);
  void load(int v);
  void used(int v);
  void emit_register(int i);
  void emit_unary(int code, int a);
  void emit_binary(int base, int a, int b);
  void emit_select(const Instr&);
  void store_results(int v);

  Plan& plan_;
  const KernelSpec& spec_;
  Program& program_;
  const Layout& layout_;
  bool needed_[kMaxValues];
  int16_t segment_[kMaxValues];  // that computes the value; 0: none
  bool crosses_[kMaxValues];  // computed by a segment, needed outside of it as a strip
  bool stored_[kMaxValues];  // ... which has been written
  bool widened_[kMaxInputs];  // half inputs: the strip has been made
  bool bound_[kMaxOutputs];  // the value is computed in the array itself
  bool late_[kMaxOutputs];  // its array is an input, too: stored when the chunk has read everything
  bool done_[kMaxOutputs];  // stored, or bound
  bool scratch_[kStripPlaces];
  int last_use_[kStripPlaces];

  int open_ = 0;  // segment in the making
  int first_word_ = 0;
  int accumulator_ = -1;  // value in the registers
  int16_t left_[kMaxValues];  // uses still to come in this segment
  int16_t temporary_[kMaxValues];  // register-sized copy of the value, in this segment
  uint64_t busy_temporaries_[2];
};

}  // namespace bridge::pipeline
