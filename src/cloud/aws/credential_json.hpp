// cloud/aws/credential_json.hpp: keys as a credential_process, a container's agent and a machine's metadata write them.
// Pure. Source: AWS SDKs and Tools Reference Guide, Process credential provider; Amazon ECS and EC2 documentation.
#pragma once

#include <optional>
#include <string_view>

#include "cloud/aws/credentials.hpp"

namespace espmint::aws {

enum class CredentialForm {
  process,   // Version 1, SessionToken
  metadata,  // Token, and Code where it is a machine's
};
/// Without `from`. Fault credentials_missing (refuse) names the field that is wrong and quotes nothing.
Result<Credentials> parse_credentials(std::string_view json, CredentialForm);

/// Whether keys of such characters can be signed with: visible ASCII, and no '/' or ',' in the name of a key.
/// The fault calls them by the names given. Fault credentials_missing (refuse).
struct KeyNames {
  std::string_view id, secret, token;
};
Result<void> check_keys(const Credentials&, const KeyNames&);

/// "2026-11-22T10:15:30Z", with a fraction or an offset from UTC, too. Source: RFC 3339. Nothing for anything else.
std::optional<WallTime> parse_moment(std::string_view text);

}  // namespace espmint::aws
