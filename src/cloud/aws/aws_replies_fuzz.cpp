// Any bytes as an answer of AWS IoT: a fault that says so, or values that keep to their shapes.
#include <cstdlib>

#include "base/bytes.hpp"
#include "cloud/aws/replies.hpp"

namespace {

template <typename T>
bool is_value(const espmint::Result<T>& read) {
  if (!read && (read.error().code != espmint::Code::cloud_reply_invalid || read.error().seen.size() > 200))
    std::abort();
  return read.has_value();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace espmint;
  const std::string_view body = as_text({data, size});
  if (auto made = aws::read_created_certificate(body); is_value(made) && !aws::is_certificate_arn(made->arn))
    std::abort();
  if (auto keys = aws::read_created_keys(body); is_value(keys) && keys->private_key_pem.empty()) std::abort();
  if (auto known = aws::read_registered(body); is_value(known) && !aws::is_certificate_arn(known->arn)) std::abort();
  if (auto one = aws::read_certificate(body); is_value(one) && one->pem.empty()) std::abort();
  if (auto page = aws::read_certificates(body); is_value(page))
    for (const auto& entry : page->items)
      if (!aws::is_certificate_arn(entry.arn) || entry.status.empty()) std::abort();
  if (auto thing = aws::read_thing(body); is_value(thing) && !aws::is_thing_name(thing->name)) std::abort();
  if (auto page = aws::read_things(body); is_value(page))
    for (const auto& thing : page->items)
      if (!aws::is_thing_name(thing.name)) std::abort();
  if (auto page = aws::read_thing_names(body); is_value(page))
    for (const auto& name : page->items)
      if (!aws::is_thing_name(name)) std::abort();
  is_value(aws::read_principals(body));
  if (auto policy = aws::read_policy(body); is_value(policy) && !aws::is_policy_name(policy->name)) std::abort();
  is_value(aws::read_policy_names(body));
  is_value(aws::read_policy_versions(body));
  is_value(aws::read_thing_type(body));
  if (auto host = aws::read_endpoint(body); is_value(host) && host->empty()) std::abort();
  return 0;
}
