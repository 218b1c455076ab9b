// cloud/aws/iot.hpp: AWS IoT's control plane as typed calls: arguments in, values out.
//   Iot iot{client};
//   CO_TRY(Reply<Thing> thing, co_await iot.describe_thing("24d7eb123456"));
//   if (thing.refusal == Refusal::absent) …
// Source: AWS IoT API Reference (2015-05-28).
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cloud/aws/client.hpp"
#include "cloud/aws/replies.hpp"

namespace espmint::aws {

/// What the service would not do, where that means something to whoever asked.
enum class Refusal {
  exists,    // there is one of this name, and it is another
  absent,    // what the call is about is not there
  conflict,  // not in this state: changed meanwhile, still attached, still active
  full,      // a limit of the account or of the thing
};

template <typename T = Nothing>
struct Reply {
  T value{};
  std::optional<Refusal> refusal;  // of a good reply: nothing
  std::string operation;           // "CreateThing"
  std::string words;               // the service's, of a refusal; safe to show
  std::string resource_arn;        // of Refusal::exists, where it was said
};

/// A refusal that nobody reckoned with. cloud_refused (refuse), with the service's words.
Fault refused(std::string_view operation, std::string_view words, std::string advice = {});

/// The value, where the service did what it was asked; else the fault `refused`.
template <typename T>
Result<T> granted(Result<Reply<T>> reply, std::string advice = {}) {
  if (!reply) return fail(std::move(reply.error()));
  if (reply->refusal) return fail(refused(reply->operation, reply->words, std::move(advice)));
  return std::move(reply->value);
}

/// Each names the operation of the API. Names and attributes are checked before anything is sent (names.hpp). Faults:
/// the client's; cloud_refused (refuse) for a name that cannot be and for what the service says that is no `Refusal`;
/// cloud_reply_invalid (reconcile). Pages: `token` empty asks for the first.
class Iot {
 public:
  /// The client must outlive this.
  explicit Iot(Client& client) : client_(client) {}

  // Certificates. Those that make one are never repeated where a first one may have been made.
  Task<Result<Reply<CreatedCertificate>>> create_certificate_from_csr(std::string csr_pem);  // INACTIVE
  Task<Result<Reply<CreatedCertificate>>> create_keys_and_certificate();                     // INACTIVE
  /// INACTIVE. Registered before: Refusal::exists with its ARN.
  Task<Result<Reply<CreatedCertificate>>> register_certificate_without_ca(std::string certificate_pem);
  Task<Result<Reply<CertificateEntry>>> describe_certificate(std::string id);
  Task<Result<Reply<>>> update_certificate(std::string id, std::string new_status);
  Task<Result<Reply<>>> delete_certificate(std::string id);
  Task<Result<Reply<Page<CertificateEntry>>>> list_certificates(std::string token);

  // Things.
  Task<Result<Reply<Thing>>> create_thing(std::string name, std::string type, Attributes attributes);
  Task<Result<Reply<Thing>>> describe_thing(std::string name);
  /// Attributes that are not named stay; `type` empty: stays. Changed since `expected_version`: Refusal::conflict.
  Task<Result<Reply<>>> update_thing(std::string name, std::string type, Attributes attributes,
                                     std::int64_t expected_version);
  /// One that is not there is deleted; one that a principal is attached to: Refusal::conflict.
  Task<Result<Reply<>>> delete_thing(std::string name);
  Task<Result<Reply<Page<Thing>>>> list_things(std::string attribute, std::string value, std::string token);
  Task<Result<Reply<>>> add_thing_to_group(std::string thing, std::string group);

  // Principals: ARNs of certificates. Attaching and detaching twice is well. Detaching takes seconds to be seen.
  Task<Result<Reply<>>> attach_thing_principal(std::string thing, std::string arn);
  Task<Result<Reply<>>> detach_thing_principal(std::string thing, std::string arn);
  Task<Result<Reply<Page<std::string>>>> list_thing_principals(std::string thing, std::string token);
  Task<Result<Reply<Page<std::string>>>> list_principal_things(std::string arn, std::string token);

  // Policies.
  Task<Result<Reply<>>> create_policy(std::string name, std::string document);
  Task<Result<Reply<Policy>>> get_policy(std::string name);
  Task<Result<Reply<>>> attach_policy(std::string name, std::string arn);
  Task<Result<Reply<>>> detach_policy(std::string name, std::string arn);
  Task<Result<Reply<Page<std::string>>>> list_attached_policies(std::string arn, std::string token);
  /// The new one is the default.
  Task<Result<Reply<>>> create_policy_version(std::string name, std::string document);
  Task<Result<Reply<std::vector<PolicyVersion>>>> list_policy_versions(std::string name);
  Task<Result<Reply<>>> delete_policy_version(std::string name, std::uint64_t number);

  // What is there once.
  Task<Result<Reply<>>> create_thing_type(std::string name);
  Task<Result<Reply<ThingType>>> describe_thing_type(std::string name);
  Task<Result<Reply<>>> create_thing_group(std::string name);
  Task<Result<Reply<>>> describe_thing_group(std::string name);
  Task<Result<Reply<std::string>>> describe_endpoint();  // iot:Data-ATS

  // Every page of a list. Fault cloud_reply_invalid for a list without end. Refusals are the first page's.
  Task<Result<Reply<std::vector<std::string>>>> principals_of(std::string thing);
  Task<Result<Reply<std::vector<std::string>>>> things_of(std::string arn);
  Task<Result<Reply<std::vector<std::string>>>> policies_of(std::string arn);
  Task<Result<Reply<std::vector<Thing>>>> things_with(std::string attribute, std::string value);
  Task<Result<Reply<std::vector<CertificateEntry>>>> certificates();

 private:
  Client& client_;
};

}  // namespace espmint::aws
