#include "sim/cloud/link.hpp"

#include <fmt/format.h>

namespace espmint::sim {
namespace {

Fault unreachable(Remedy remedy, std::string seen) {
  return {
      .code = Code::cloud_unreachable, .remedy = remedy, .what = "the cloud did not answer", .seen = std::move(seen)};
}

class CloudLink final : public HttpClient {
 public:
  CloudLink(Iot& cloud, Clock& clock, LinkOptions options) : cloud_(cloud), clock_(clock), options_(options) {}

  Task<Result<HttpReply>> send(HttpRequest request) override {
    Instant sent = clock_.now();
    std::string base = cloud_.url();
    if (!request.url.starts_with(base + "/")) {
      co_await clock_.sleep_for(options_.latency / 2);
      co_return fail(unreachable(Remedy::retry, "no host of this name"));
    }
    CloudRequest wire{.method = std::move(request.method), .target = request.url.substr(base.size())};
    wire.headers = std::move(request.headers);
    wire.body = std::move(request.body);
    if (!wire.header("host")) wire.headers.push_back({"Host", base.substr(std::string_view{"https://"}.size())});
    Duration half = options_.latency / 2;
    if (half >= request.timeout) {
      co_await clock_.sleep_for(request.timeout);
      co_return fail(unreachable(Remedy::reconcile, "timed out"));
    }
    co_await clock_.sleep_for(half);
    IotDelivery delivery = cloud_.deliver(wire);
    if (delivery.mishap == Mishap::refuse) co_return fail(unreachable(Remedy::retry, "connection refused"));
    Duration back = half;
    if (delivery.mishap == Mishap::late) back += cloud_.faults().late_by;
    Instant deadline = sent + request.timeout;
    if (clock_.now() + back > deadline) {
      co_await clock_.sleep_until(deadline);
      co_return fail(unreachable(Remedy::reconcile, "timed out"));
    }
    co_await clock_.sleep_for(back);
    if (!delivery.reply) co_return fail(unreachable(Remedy::reconcile, "connection closed before the reply"));
    co_return std::move(*delivery.reply);
  }

 private:
  Iot& cloud_;
  Clock& clock_;
  LinkOptions options_;
};

}  // namespace

std::unique_ptr<HttpClient> connect_to(Iot& cloud, Clock& clock, LinkOptions options) {
  return std::make_unique<CloudLink>(cloud, clock, options);
}

}  // namespace espmint::sim
