// Whatever answers, it is read to the end or refused, and nothing of it that people see is long or steers a terminal.
#include <cstdlib>

#include "base/text.hpp"
#include "cloud/aws/signing_client.hpp"

namespace {

void check_shown(const std::string& text) {
  if (text.size() > 4096 || text != espmint::escape_controls(text)) std::abort();
}

}  // namespace

// Two bytes of status, the header's error name up to a line's end, the Date up to the next, then the body.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* input, std::size_t size) {
  using namespace espmint;
  using namespace espmint::aws;
  if (size < 2) return 0;
  std::string_view rest = as_text({input + 2, size - 2});
  auto line = [&rest] {
    const std::string_view taken = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), taken.size() + 1));
    return std::string{taken};
  };
  HttpReply reply;
  reply.status = 100 * (1 + input[0] % 6) + input[1] % 32;
  reply.headers.push_back({"x-amzn-ErrorType", line()});
  reply.headers.push_back({"Date", line()});
  reply.headers.push_back({"Location", reply.headers[1].value});
  reply.body = rest;

  if (auto date = parse_http_date(reply.header("date"));
      date && date->time_since_epoch() > std::chrono::hours{24 * 366 * 9999})
    std::abort();
  if (auto endpoint = parse_endpoint(reply.header("date"))) {
    auto again = parse_endpoint(endpoint->origin + endpoint->prefix);
    if (!again || again->origin != endpoint->origin || again->host != endpoint->host ||
        again->prefix != endpoint->prefix)
      std::abort();
  }
  auto read = parse_reply(reply);
  if (!read) {
    check_shown(describe(read.error()));
    return 0;
  }
  const Answer& answer = read->answer;
  if (answer.good() != (reply.status / 100 == 2) || answer.message.size() > 4096 || answer.error.size() > 128)
    std::abort();
  check_shown(in_short(answer));
  if (read->meaning == Meaning::denied || read->meaning == Meaning::expired || read->meaning == Meaning::clock)
    check_shown(describe(denial(*read, "CreateThing", "eu-central-1", "environment")));
  return 0;
}
