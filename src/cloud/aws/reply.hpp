// cloud/aws/reply.hpp: what a reply to a call means: the service's answer, something to try again, or no service at
// all. Pure. Everything in a reply is a stranger's word until it is read: nothing of it is trusted in size, shape or
// encoding. Source: AWS IoT API Reference, Common Errors; Smithy, AWS restJson1 protocol, Operation error
// serialization.
#pragma once

#include <optional>

#include "cloud/aws/client.hpp"

namespace espmint::aws {

/// What should be done about a reply.
enum class Meaning {
  answered,   // by the service: good, or an error that means something to whoever asked
  throttled,  // too many calls; this one was not carried out
  failed,     // by the service or a gateway on the way; it may have been carried out
  clock,      // the signature's time was not believed
  expired,    // the keys or their token are not known, or no longer
  denied,     // whoever signed may not, or is not known
};

struct ReadReply {
  Meaning meaning = Meaning::answered;
  Answer answer;
  bool is_page = false;  // a web page instead of JSON: a gateway or proxy speaks, not the service
};

/// Fault cloud_reply_invalid (reconcile): a web page, a redirect, no JSON, JSON that is nested too deeply, an error
/// that is none of AWS's; cloud_unreachable (retry): a proxy that wants a password.
Result<ReadReply> parse_reply(const HttpReply&);

/// "Sun, 06 Nov 1994 08:49:37 GMT"; nothing for other forms, which no server of today sends. Source: RFC 9110, 5.6.7.
std::optional<WallTime> parse_http_date(std::string_view text);

/// cloud_denied (stop_line) for a reply that means `denied`, `expired` or `clock`: which action, to whom, what to do.
/// `keys`: where the credentials are from, for people.
Fault denial(const ReadReply&, std::string_view operation, std::string_view region, std::string_view keys);

/// The service's own words, short and safe for a terminal: "409 ResourceConflict: …".
std::string in_short(const Answer&);

}  // namespace espmint::aws
