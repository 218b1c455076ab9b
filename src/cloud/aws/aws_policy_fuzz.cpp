// Any bytes as a policy: findings, or a document that is JSON and short enough for AWS.
#include <cstdlib>

#include "base/bytes.hpp"
#include "cloud/aws/policy.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace espmint;
  const std::string_view text = as_text({data, size});
  const auto findings = aws::lint_policy(text);
  bool refused = false;
  for (const auto& finding : findings) {
    if (refused == false && &finding != &findings.front() && finding.level == aws::PolicyFinding::Level::refused)
      std::abort();  // the worst come first
    refused = refused || finding.level == aws::PolicyFinding::Level::refused;
  }
  const bool passes = aws::check_policy("p", text).has_value();
  if (passes == refused) std::abort();
  if (passes && text.find("Statement") == std::string_view::npos && text.find('\\') == std::string_view::npos)
    std::abort();
  if (!aws::is_same_policy(text, text)) std::abort();
  return 0;
}
