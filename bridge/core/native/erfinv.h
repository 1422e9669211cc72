// Inverse error function and logarithm of doubles, the same bits on every machine: no call of the C library, whose
// functions round by what the processor has, and no fused multiplication.
#pragma once

namespace bridge {

double exact_log(double x);  // of a positive normal x; within 1 ulp
double erfinv(double x);  // +-inf at +-1, NaN beyond; within 3 ulp

}  // namespace bridge
