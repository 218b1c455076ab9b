// sim/cloud/link.hpp: the way to a virtual cloud without a network: an HttpClient on whatever clock it is given.
#pragma once

#include <memory>

#include "io/clock.hpp"
#include "io/http.hpp"
#include "sim/cloud/iot.hpp"

namespace espmint::sim {

struct LinkOptions {
  Duration latency = std::chrono::milliseconds{200};  // of a call, there and back
};

/// Both must outlive it. Requests go to cloud.url(); any other host has no name. Faults as io/http.hpp has them: a
/// refused connection and an outage are cloud_unreachable with remedy retry; a request or reply that is lost, and one
/// that comes later than the request's timeout, with remedy reconcile, for whoever sent it cannot tell the two apart.
std::unique_ptr<HttpClient> connect_to(Iot& cloud, Clock&, LinkOptions = {});

}  // namespace espmint::sim
