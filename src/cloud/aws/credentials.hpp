// cloud/aws/credentials.hpp: the keys that requests are signed with, found where AWS's own tools find them.
//   auto source = make_credential_chain(surroundings_of_this_process(), profile, {loop, *metadata_http});
//   CO_TRY(Credentials keys, co_await source->get());
// Source: AWS SDKs and Tools Reference Guide, Standardized credential providers.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/secret.hpp"
#include "cloud/aws/settings.hpp"
#include "io/http.hpp"
#include "io/program.hpp"

namespace espmint::aws {

struct Credentials {
  std::string access_key_id;
  Secret secret_access_key;
  Secret session_token;             // empty: keys of a user, which have none
  std::optional<WallTime> expires;  // by the clock of whoever made them
  std::string from;                 // for people: "environment", "profile factory in /home/ann/.aws/credentials"
  /// A second holder of the same keys; grep for it.
  [[nodiscard]] Credentials duplicate() const;
};

class CredentialSource {
 public:
  virtual ~CredentialSource() = default;
  /// Keys that have not expired. Cheap where they are known: callers ask before each request. May be called by many at
  /// once. Fault credentials_missing (refuse) says where was looked, or what is wrong there; it never quotes a value.
  virtual Task<Result<Credentials>> get() = 0;
  /// The service says that what get() gave has expired or is unknown: the next get() looks for keys anew.
  virtual void forget() {}
};

struct CredentialParts {
  Clock& clock;
  HttpClient& metadata;  // without proxies: what it asks is on this machine or its link
  std::function<Task<Result<Secret>>(Program)> run = run_program;
};
/// Looks, in this order, at: the environment (not where a profile was wanted by flag or recipe), the profile's keys in
/// the credentials file, its credential_process, its keys in the config file, the container's agent, the machine's
/// metadata (IMDSv2). A place that has half of the keys, or damaged ones, is a fault and not passed over; so is a
/// profile that needs SSO or another role, which a credential_process can do. Keys with an end are replaced 15 minutes
/// before.
std::unique_ptr<CredentialSource> make_credential_chain(Surroundings, std::string profile, CredentialParts);

}  // namespace espmint::aws
