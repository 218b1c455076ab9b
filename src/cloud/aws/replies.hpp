// cloud/aws/replies.hpp: what AWS IoT answers, read from JSON that anybody may have written.
// Source: AWS IoT API Reference. Fields that nobody here asks for are passed over.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/secret.hpp"
#include "cloud/aws/names.hpp"
#include "io/clock.hpp"

namespace espmint::aws {

struct Nothing {};

/// A piece of a list; `next` asks for the one after, empty: this was the last.
template <typename T>
struct Page {
  std::vector<T> items;
  std::string next;
};

struct CreatedCertificate {
  std::string arn;
  std::string pem;         // empty where the certificate was registered: whoever did has it
  Secret private_key_pem;  // of CreateKeysAndCertificate only
};

namespace status {
inline constexpr std::string_view active = "ACTIVE";
inline constexpr std::string_view inactive = "INACTIVE";
}  // namespace status

struct CertificateEntry {
  std::string arn;
  std::string status;               // "ACTIVE", "INACTIVE", "REVOKED", "PENDING_ACTIVATION", …
  std::optional<WallTime> created;  // by the service's clock
  std::string pem;                  // of DescribeCertificate only
};

struct Thing {
  std::string name;
  std::string id;    // of CreateThing and DescribeThing, where it is said
  std::string type;  // empty: none
  Attributes attributes;
  std::int64_t version = 0;
};

struct Policy {
  std::string name;
  std::string document;  // JSON
  std::string default_version;
};

struct PolicyVersion {
  std::uint64_t number = 0;  // counted up, never used again
  bool is_default = false;
};

struct ThingType {
  std::string name;
  bool deprecated = false;
};

/// All of these take any bytes. Fault cloud_reply_invalid (reconcile): no JSON, a field missing, of another kind, or
/// not of the shape that the service documents. No fault quotes more than a field's name.
Result<CreatedCertificate> read_created_certificate(std::string_view body);  // CreateCertificateFromCsr
Result<CreatedCertificate> read_created_keys(std::string_view body);         // CreateKeysAndCertificate
Result<CreatedCertificate> read_registered(std::string_view body);           // RegisterCertificateWithoutCA
Result<CertificateEntry> read_certificate(std::string_view body);            // DescribeCertificate
Result<Page<CertificateEntry>> read_certificates(std::string_view body);     // ListCertificates
Result<Thing> read_thing(std::string_view body);                             // DescribeThing
Result<Thing> read_created_thing(std::string_view body);                     // CreateThing
Result<Page<Thing>> read_things(std::string_view body);                      // ListThings
Result<Page<std::string>> read_thing_names(std::string_view body);           // ListPrincipalThings
Result<Page<std::string>> read_principals(std::string_view body);            // ListThingPrincipals: not only ARNs
Result<Policy> read_policy(std::string_view body);                           // GetPolicy
Result<Page<std::string>> read_policy_names(std::string_view body);          // ListAttachedPolicies
Result<std::vector<PolicyVersion>> read_policy_versions(std::string_view body);
Result<ThingType> read_thing_type(std::string_view body);
Result<std::string> read_endpoint(std::string_view body);  // a host name
inline Result<Nothing> read_nothing(std::string_view) { return Nothing{}; }

}  // namespace espmint::aws
