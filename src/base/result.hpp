// base/result.hpp: how a call fails. A failing call returns Result<T>; its Fault says what, where, what was seen, and
// what to do, and which of six things the caller should do about it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

#include "base/fault_codes.hpp"

namespace espmint {

/// What the caller should do. A new one only if someone would act differently on it.
enum class Remedy {
  retry,      // the same step again
  reconnect,  // reset and identify the board anew, then the step
  repower,    // its supply off and on, by its hub, then as reconnect
  reconcile,  // it may have happened: ask before acting
  refuse,     // a person decides; this board or input is not accepted
  stop_line,  // nothing can be done right on any slot
};

/// Where it happened: each layer adds what it alone knows as the fault rises.
struct Where {
  std::string slot;                     // "/dev/ttyUSB3", "slot 3"
  std::string board;                    // "24d7eb123456"
  std::string step;                     // "flash firmware"
  std::string input;                    // "partitions.csv:4"
  std::optional<std::uint64_t> offset;  // bytes into the flash, image or file
};

struct Fault {
  Code code;
  Remedy remedy;
  std::string what;      // "flash differs from image after write"
  Where where{};         // filled on the way up
  std::string seen{};    // the evidence: "status 0x07 (INVALID_CRC)"; never a secret
  std::string advice{};  // to the operator: "reseat the board; twice on one slot: check cable and 3V3"
};

/// One sentence for a person: what, where, what was seen, what to do. Safe for a terminal: control bytes are escaped.
std::string describe(const Fault& fault);

template <typename T>
using Result = tl::expected<T, Fault>;

inline Result<void> ok() { return {}; }
inline tl::unexpected<Fault> fail(Fault fault) { return tl::unexpected<Fault>(std::move(fault)); }

/// The same result with a fault that also knows the step, the input or the board.
template <typename T>
Result<T> at_step(Result<T> result, std::string_view step) {
  if (!result && result.error().where.step.empty()) result.error().where.step = step;
  return result;
}
template <typename T>
Result<T> in_input(Result<T> result, std::string_view input) {
  if (!result && result.error().where.input.empty()) result.error().where.input = input;
  return result;
}

}  // namespace espmint

// TRY(call);  TRY(Type name, call);  and the same with co_ for coroutines: on a fault, hand it up.
#define ESPMINT_CONCAT_(a, b) a##b
#define ESPMINT_CONCAT(a, b) ESPMINT_CONCAT_(a, b)
#define ESPMINT_TRY_ONE(leave, result, expression)                 \
  do {                                                             \
    auto result = (expression);                                    \
    if (!result) leave ::espmint::fail(std::move(result.error())); \
  } while (false)
#define ESPMINT_TRY_LET(leave, result, declaration, ...)         \
  auto result = (__VA_ARGS__);                                   \
  if (!result) leave ::espmint::fail(std::move(result.error())); \
  declaration = std::move(*result)
#define ESPMINT_NTH(_1, _2, _3, _4, _5, _6, _7, _8, name, ...) name
#define ESPMINT_TRY(leave, ...)                                                                                 \
  ESPMINT_NTH(__VA_ARGS__, ESPMINT_TRY_LET, ESPMINT_TRY_LET, ESPMINT_TRY_LET, ESPMINT_TRY_LET, ESPMINT_TRY_LET, \
              ESPMINT_TRY_LET, ESPMINT_TRY_LET, ESPMINT_TRY_ONE, )                                              \
  (leave, ESPMINT_CONCAT(espmint_result_, __COUNTER__), __VA_ARGS__)
#define TRY(...) ESPMINT_TRY(return, __VA_ARGS__)
#define CO_TRY(...) ESPMINT_TRY(co_return, __VA_ARGS__)
