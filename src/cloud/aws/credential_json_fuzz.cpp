// Whatever a credential_process prints or a metadata service answers: keys that can be signed with, or one fault.
#include <cstdlib>

#include "cloud/aws/credential_json.hpp"
#include "io/program.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* input, std::size_t size) {
  using namespace espmint;
  using namespace espmint::aws;
  const std::string_view text = as_text({input, size});
  for (const CredentialForm form : {CredentialForm::process, CredentialForm::metadata}) {
    const auto keys = parse_credentials(text, form);
    if (!keys) continue;
    if (keys->access_key_id.empty() || keys->secret_access_key.empty() || !check_keys(*keys, {"a", "b", "c"}))
      std::abort();
  }
  // A command line comes from the same files.
  if (const auto words = split_command_line(text); words && (words->empty() || words->front().empty())) std::abort();
  if (const auto moment = parse_moment(text); moment && parse_moment(to_string(*moment)) != moment) std::abort();
  return 0;
}
