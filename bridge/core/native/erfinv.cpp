#include "erfinv.h"

#include <cstdint>
#include <cstring>
#include <limits>

namespace bridge {
namespace {

template <int N>
double polynomial(double x, const double (&coefficients)[N]) {  // from the highest down
  double sum = coefficients[0];
  for (int k = 1; k < N; k++) sum = sum * x + coefficients[k];
  return sum;
}

// From the rational approximations of the normal quantile with 16 digits of Wichura (1988), algorithm AS 241. The tops
// are rewritten, so that the quotients are small corrections and their rounding counts for little:
// erfinv(x) = x + x top(r) / bottom(r) in the middle, s - top(r) / bottom(r) outside.
constexpr double kCentralTop[] = {-4339.4012092273997, -16909.592388659647, -15525.854417978326, -4977.9317864190207,
                                  -539.30913204036244, 9.8756578518380742,  4.7593574107830667,  0.19753231156709125};
constexpr double kCentralBottom[] = {
    5.2264952788528545610e+3, 2.8729085735721942674e+4, 3.9307895800092710610e+4, 2.1213794301586595867e+4,
    5.3941960214247511077e+3, 6.8718700749205790830e+2, 4.2313330701600911252e+1, 1.0};
constexpr double kTailTop[] = {1.0507500716444169e-09, -9.0542230797360055e-08, 6.6317706715227072e-06,
                               0.0014570525960900544,  0.02838405174558772,     0.20059427897991458,
                               0.65575674560004593,    1.0109633124184081,      0.59347796639631212};
constexpr double kTailBottom[] = {
    1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
    6.89767334985100004550e-1, 1.67638483018380384940e+0, 2.05319162663775882187e+0, 1.0};
constexpr double kFarTop[] = {2.0442631033899397e-15, -9.2256625603868124e-13, 3.4575203211281514e-10,
                              4.9106440730616726e-07, 4.8615812610010525e-05,  0.0016066960044928613,
                              0.02241866155232811,    0.13568167115055627,     0.29215047808696631};
constexpr double kFarBottom[] = {
    2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5, 7.86869131145613259100e-4,
    1.48753612908506148525e-2,  1.36929880922735805310e-1, 5.99832206555887937690e-1, 1.0};

}  // namespace

double exact_log(double x) {
  uint64_t bits;
  std::memcpy(&bits, &x, 8);
  bits -= 0x3fe6a09e667f3bcdu;  // sqrt(1/2)
  const auto e = static_cast<double>(static_cast<int64_t>(bits) >> 52);
  bits = (bits & 0x000fffffffffffff) + 0x3fe6a09e667f3bcd;
  double f;
  std::memcpy(&f, &bits, 8);
  f -= 1.0;
  const double s = f / (f + 2.0), u = s * s, half = 0.5 * f * f;
  constexpr double kTail[] = {0.1203587025367818,  0.11668407791310408, 0.13336684745071672,
                              0.1538454544910911,  0.18181818079025521, 0.22222222215277168,
                              0.28571428571459001, 0.39999999999999936, 0.66666666666666663};
  // log(1 + f) = f - half + s (half + u tail), so that the rounding of s costs little.
  const double rest = s * (half + u * polynomial(u, kTail));
  return e * 6.93147180369123816490e-01 + (f - (half - (rest + e * 1.90821492927058770002e-10)));
}

double erfinv(double x) {
  const double magnitude = x < 0 ? -x : x;
  if (!(magnitude < 1))
    return magnitude == 1 ? x * std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  if (magnitude <= 0.85) {
    if (x == 0) return x;  // the sign of zero
    const double r = 0.180625 - 0.25 * x * x;
    return x + x * (polynomial(r, kCentralTop) / polynomial(r, kCentralBottom));
  }
  const double s = __builtin_sqrt(-exact_log(0.5 * (1 - magnitude)));
  const double correction = s <= 5 ? polynomial(s - 1.6, kTailTop) / polynomial(s - 1.6, kTailBottom)
                                   : polynomial(s - 5, kFarTop) / polynomial(s - 5, kFarBottom);
  return x < 0 ? correction - s : s - correction;
}

}  // namespace bridge
