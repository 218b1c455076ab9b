// sim/cloud/account.hpp: what one account of the virtual cloud holds in one region, and what an operation asks and
// gets.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "io/clock.hpp"
#include "sim/cloud/policy_document.hpp"
#include "sim/cloud/x509.hpp"
#include "sim/dice.hpp"

namespace espmint::sim::iot {

using nlohmann::json;
using Attributes = std::map<std::string, std::string>;

struct ThingType {
  std::string id, description;
  std::vector<std::string> searchable;
  WallTime created{};
  std::optional<WallTime> deprecated{};
  Instant deprecated_at{};
};

struct ThingGroup {
  std::string id, parent, description;
  Attributes attributes;
  std::uint64_t version = 1;
  WallTime created{};
  std::set<std::string> things, policies;
};

struct Attachment {
  bool exclusive = false;
  std::optional<Instant> gone_at{};  // detached, and still shown until then
};

struct Thing {
  std::string id, type, billing_group;
  Attributes attributes;
  std::uint64_t version = 1;
  std::map<std::string, Attachment> certificates;  // by id
  std::set<std::string> groups;
};

struct DeviceCertificate {
  Bytes der;
  std::string status;       // "ACTIVE", "INACTIVE", "REVOKED"
  std::string mode;         // "DEFAULT", "SNI_ONLY"
  std::string authority{};  // id of the registered CA; empty: the cloud's own, or none
  WallTime created{}, modified{};
  unsigned version = 1;
  std::string order{};  // order_key
  std::set<std::string> policies{}, things{};
};

struct RegisteredAuthority {
  Bytes der;
  std::string status, mode, auto_registration;
  json configuration{};
  WallTime created{}, modified{};
  unsigned version = 1;
  std::uint64_t order = 0;
};

struct PolicyVersion {
  std::string document;
  WallTime created{};
};

struct Policy {
  std::map<unsigned, PolicyVersion> versions;
  unsigned default_version = 1, last_version = 1;
  std::string generation;
  WallTime created{}, modified{};
  std::uint64_t order = 0;
  Instant deletable_at{};           // some time after it was detached
  std::set<std::string> targets{};  // ARNs
};

/// Times of what is not done at once.
struct Delays {
  Duration detach = std::chrono::seconds{3};           // "several seconds"
  Duration policy_release = std::chrono::seconds{20};  // "up to five minutes"
  Duration type_release = std::chrono::minutes{5};
};

struct Account {
  std::string region, number;
  std::string data_endpoint;
  Delays delays;
  Dice dice;
  CertificateAuthority authority;
  std::string registration_code;

  std::map<std::string, ThingType> types;
  std::map<std::string, ThingGroup> groups;
  std::map<std::string, Thing> things;
  std::map<std::string, DeviceCertificate> certificates;
  std::map<std::string, std::string> certificate_order;  // order_key to id
  std::map<std::string, RegisteredAuthority> authorities;
  std::map<std::string, Policy> policies;
  std::uint64_t next_order = 1;

  struct Detaching {
    std::string thing, certificate;
    Instant at;
  };
  std::deque<Detaching> detaching;  // in the order of time

  /// "arn:aws:iot:eu-central-1:123456789012:thing/a"
  [[nodiscard]] std::string arn(std::string_view kind, std::string_view name) const;
  /// The id in a certificate's ARN of this account and region; nothing for anything else.
  [[nodiscard]] std::optional<std::string> certificate_in(std::string_view arn) const;
  /// "4bd4…-…": as the registry names its records.
  std::string new_uuid();
  /// So many random bytes as hex.
  std::string new_hex(std::size_t bytes);
  /// Lets what was detached go once its time has come.
  void settle(Instant now);
  /// Files a certificate; its id.
  std::string add_certificate(Bytes der, std::string_view status, std::string_view mode, std::string authority_id,
                              WallTime now);
};

/// A request whose signature and permission are good.
struct Ask {
  std::vector<std::string> labels;             // of the path, decoded, in its order
  std::map<std::string, std::string> query;    // decoded
  std::map<std::string, std::string> headers;  // lower-case names
  json body;                                   // object; of an empty one: {}
  Instant now;
  WallTime wall;

  /// Empty where it is absent.
  [[nodiscard]] std::string text(std::string_view member) const;
  [[nodiscard]] std::string asked(const std::string& parameter) const;
  [[nodiscard]] bool is_true(const std::string& parameter) const { return asked(parameter) == "true"; }
  [[nodiscard]] std::string header(const std::string& name) const;
};

struct Outcome {
  int status = 200;
  std::string error{};  // "ResourceNotFoundException"; empty: good
  std::string message{};
  json body{};                                // null: the operation answers nothing
  std::string resource_id{}, resource_arn{};  // of ResourceAlreadyExistsException
};

// Source of types and codes: AWS IoT API Reference, errors of each operation.
inline Outcome invalid_request(std::string message) { return {400, "InvalidRequestException", std::move(message)}; }
inline Outcome malformed_policy(std::string message) { return {400, "MalformedPolicyException", std::move(message)}; }
inline Outcome invalid_certificate(std::string message) {
  return {400, "CertificateValidationException", std::move(message)};
}
inline Outcome not_found(std::string message) { return {404, "ResourceNotFoundException", std::move(message)}; }
inline Outcome wrong_state(std::string message) { return {406, "CertificateStateException", std::move(message)}; }
inline Outcome delete_conflict(std::string message) { return {409, "DeleteConflictException", std::move(message)}; }
inline Outcome version_conflict(std::string message) { return {409, "VersionConflictException", std::move(message)}; }
inline Outcome limit_exceeded(std::string message) { return {410, "LimitExceededException", std::move(message)}; }
inline Outcome already_exists(std::string message, std::string id, std::string arn) {
  return {409, "ResourceAlreadyExistsException", std::move(message), {}, std::move(id), std::move(arn)};
}
inline Outcome answered(json body = json::object()) { return {200, {}, {}, std::move(body)}; }
inline Outcome done() { return {}; }

/// Seconds since 1970, as the service writes moments.
inline double moment(WallTime at) { return static_cast<double>(at.time_since_epoch().count()); }

// What names and values may be. Source: AWS IoT API Reference, patterns and lengths.
bool is_thing_name(std::string_view);
bool is_policy_name(std::string_view);
bool is_certificate_id(std::string_view);
/// Empty when all are allowed.
std::string what_is_wrong_with(const Attributes&);
/// {"attributes": {…}, "merge": true} as a map; nothing when it is no such thing.
std::optional<Attributes> attributes_in(const json& payload);

/// One page of a list: what comes after the token.
struct Page {
  std::vector<std::string> keys;
  std::string next;  // base64; empty: that was all
};
/// The names of the parameters, "maxResults" and "nextToken" or "pageSize" and "marker".
struct Paging {
  std::string size, token;
};
inline const Paging by_token{"maxResults", "nextToken"}, by_marker{"pageSize", "marker"};
/// `keys` ascending. Nothing when size or token are none.
std::optional<Page> page_of(const std::vector<std::string_view>& keys, const Ask&, const Paging&,
                            bool descending = false);
/// For lists by date: newest first unless isAscendingOrder; a number as a key.
std::string order_key(std::uint64_t order);
inline constexpr std::size_t usual_page = 25, largest_page = 250;

// saved.cpp
json saved_account(const Account&);
/// Into an empty account of the same seed; false where it is no such file.
bool restore_account(Account&, const json& saved);

using Operation = Outcome (*)(Account&, const Ask&);

// things.cpp
Outcome create_thing(Account&, const Ask&);
Outcome describe_thing(Account&, const Ask&);
Outcome update_thing(Account&, const Ask&);
Outcome delete_thing(Account&, const Ask&);
Outcome list_things(Account&, const Ask&);
Outcome attach_thing_principal(Account&, const Ask&);
Outcome detach_thing_principal(Account&, const Ask&);
Outcome list_thing_principals(Account&, const Ask&);
Outcome list_principal_things(Account&, const Ask&);
// thing_types.cpp
Outcome create_thing_type(Account&, const Ask&);
Outcome describe_thing_type(Account&, const Ask&);
Outcome list_thing_types(Account&, const Ask&);
Outcome deprecate_thing_type(Account&, const Ask&);
Outcome delete_thing_type(Account&, const Ask&);
Outcome create_thing_group(Account&, const Ask&);
Outcome describe_thing_group(Account&, const Ask&);
Outcome list_thing_groups(Account&, const Ask&);
Outcome delete_thing_group(Account&, const Ask&);
Outcome add_thing_to_thing_group(Account&, const Ask&);
Outcome remove_thing_from_thing_group(Account&, const Ask&);
Outcome list_thing_groups_for_thing(Account&, const Ask&);
Outcome list_things_in_thing_group(Account&, const Ask&);
// certificates.cpp
Outcome create_certificate_from_csr(Account&, const Ask&);
Outcome create_keys_and_certificate(Account&, const Ask&);
Outcome describe_certificate(Account&, const Ask&);
Outcome update_certificate(Account&, const Ask&);
Outcome delete_certificate(Account&, const Ask&);
Outcome list_certificates(Account&, const Ask&);
/// One page of those that are to be listed, by date.
Outcome page_of_certificates(Account&, const Ask&, const std::function<bool(const DeviceCertificate&)>& is_listed);
Outcome describe_endpoint(Account&, const Ask&);
// authorities.cpp
Outcome register_certificate(Account&, const Ask&);
Outcome register_certificate_without_ca(Account&, const Ask&);
Outcome register_ca_certificate(Account&, const Ask&);
Outcome get_registration_code(Account&, const Ask&);
Outcome describe_ca_certificate(Account&, const Ask&);
Outcome update_ca_certificate(Account&, const Ask&);
Outcome delete_ca_certificate(Account&, const Ask&);
Outcome list_ca_certificates(Account&, const Ask&);
Outcome list_certificates_by_ca(Account&, const Ask&);
// policies.cpp
Outcome create_policy(Account&, const Ask&);
Outcome get_policy(Account&, const Ask&);
Outcome list_policies(Account&, const Ask&);
Outcome delete_policy(Account&, const Ask&);
Outcome create_policy_version(Account&, const Ask&);
Outcome get_policy_version(Account&, const Ask&);
Outcome list_policy_versions(Account&, const Ask&);
Outcome set_default_policy_version(Account&, const Ask&);
Outcome delete_policy_version(Account&, const Ask&);
// policy_targets.cpp
Outcome attach_policy(Account&, const Ask&);
Outcome detach_policy(Account&, const Ask&);
Outcome list_attached_policies(Account&, const Ask&);
Outcome list_targets_for_policy(Account&, const Ask&);
Outcome attach_principal_policy(Account&, const Ask&);
Outcome detach_principal_policy(Account&, const Ask&);
Outcome list_principal_policies(Account&, const Ask&);
Outcome list_policy_principals(Account&, const Ask&);

}  // namespace espmint::sim::iot
