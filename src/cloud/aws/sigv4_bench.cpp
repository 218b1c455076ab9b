// What signing adds to a call: the budget is 5 ms of CPU a board for six of them.
#include "cloud/aws/sigv4.hpp"

#include <benchmark/benchmark.h>

namespace espmint::aws {
namespace {

void sign_request(benchmark::State& state, std::string_view session_token) {
  const std::string secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
  const std::string body(static_cast<std::size_t>(state.range(0)), 'x');
  const RequestToSign request{"POST",
                              "/certificates",
                              "setAsActive=false",
                              {{"host", "iot.eu-central-1.amazonaws.com"}, {"content-type", "application/json"}},
                              body};
  const SigningScope scope{"eu-central-1", "iot", WallTime{std::chrono::seconds{1'790'000'000}}};
  for (auto _ : state) benchmark::DoNotOptimize(sign(request, {"AKIDEXAMPLE", as_bytes(secret), session_token}, scope));
}
// A request for a certificate is about 500 bytes long; a session token about 900.
BENCHMARK_CAPTURE(sign_request, keys, "")->Arg(500)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(sign_request, session, std::string_view{"IQoJb3JpZ2luX2VjEXAMPLE"})
    ->Arg(500)
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace espmint::aws
