#include "cloud/aws/iot.hpp"

#include <fmt/format.h>

#include <array>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/text.hpp"

namespace espmint::aws {
namespace {

using Json = nlohmann::json;

constexpr std::string_view page_size = "250";  // the most that every list takes
constexpr std::size_t most_pages = 40'000;     // 10,000,000 certificates; a list that goes on is not one
constexpr std::size_t longest_csr = 4096;      // characters
constexpr std::size_t longest_words = 300;     // of a message, as far as it is shown

struct RefusalOf {
  std::string_view error;
  Refusal refusal;
};
// Source: AWS IoT API Reference, Errors of each operation. Errors that are not here are faults.
constexpr std::array refusals{
    RefusalOf{"ResourceAlreadyExistsException", Refusal::exists},
    RefusalOf{"ResourceNotFoundException", Refusal::absent},
    RefusalOf{"VersionConflictException", Refusal::conflict},
    RefusalOf{"DeleteConflictException", Refusal::conflict},
    RefusalOf{"CertificateStateException", Refusal::conflict},
    RefusalOf{"ConflictingResourceUpdateException", Refusal::conflict},
    RefusalOf{"LimitExceededException", Refusal::full},
    RefusalOf{"VersionsLimitExceededException", Refusal::full},
};

std::optional<Refusal> refusal_of(std::string_view operation, std::string_view error) {
  for (const RefusalOf& row : refusals)
    if (row.error == error) return row.refusal;
  // A thing that a principal is attached to: DeleteThing documents InvalidRequestException and nothing else for it.
  if (operation == "DeleteThing" && error == "InvalidRequestException") return Refusal::conflict;
  return std::nullopt;
}

/// One line, without control bytes, cut where it goes on and on.
std::string words_of_answer(const Answer& answer) {
  std::string words = answer.message.empty() ? answer.error : fmt::format("{}: {}", answer.error, answer.message);
  if (words.size() > longest_words) {
    std::size_t end = longest_words;
    while (end > 0 && (static_cast<unsigned char>(words[end]) & 0xC0U) == 0x80U) --end;  // not inside a character
    words.resize(end);
    words += "…";
  }
  for (char& c : words)
    if (c == '\n' || c == '\t') c = ' ';
  return escape_controls(words);
}

template <typename T>
Task<Result<Reply<T>>> ask_iot(Client& client, Call call, Result<T> (*read)(std::string_view)) {
  Reply<T> reply;
  reply.operation = call.operation;
  Result<Answer> answer = co_await client.call(std::move(call));
  if (!answer) co_return at_step(Result<Reply<T>>{fail(std::move(answer.error()))}, reply.operation);
  if (answer->good()) {
    Result<T> value = at_step(read(answer->body), reply.operation);
    wipe({reinterpret_cast<std::uint8_t*>(answer->body.data()), answer->body.size()});  // may hold a private key
    CO_TRY(reply.value, std::move(value));
    co_return reply;
  }
  reply.words = words_of_answer(*answer);
  reply.refusal = refusal_of(reply.operation, answer->error);
  if (!reply.refusal) co_return fail(refused(reply.operation, reply.words));
  if (is_certificate_arn(answer->resource_arn)) reply.resource_arn = std::move(answer->resource_arn);
  co_return reply;
}

template <typename T>
using PageOf = std::function<Task<Result<Reply<Page<T>>>>(std::string token)>;

template <typename T>
Task<Result<Reply<std::vector<T>>>> every_page(PageOf<T> page_of) {
  Reply<std::vector<T>> all;
  std::string token;
  for (std::size_t pages = 0; pages < most_pages; ++pages) {
    CO_TRY(Reply<Page<T>> page, co_await page_of(token));
    all.operation = page.operation;
    // What is deleted while its list is read ends there.
    if (page.refusal && pages == 0) {
      all.refusal = page.refusal;
      all.words = std::move(page.words);
    }
    if (page.refusal) co_return all;
    std::move(page.value.items.begin(), page.value.items.end(), std::back_inserter(all.value));
    if (page.value.next.empty()) co_return all;
    if (page.value.next == token) break;
    token = std::move(page.value.next);
  }
  Fault endless{Code::cloud_reply_invalid, Remedy::reconcile, "the service's list does not end"};
  endless.where.step = all.operation;
  co_return fail(std::move(endless));
}

Result<void> check_arn(std::string_view arn) {
  if (is_certificate_arn(arn)) return ok();
  Fault fault{Code::cloud_refused, Remedy::refuse, "this is no ARN of a certificate"};
  fault.seen = fmt::format("\"{}\"", escape_controls(arn.substr(0, 256)));
  return fail(std::move(fault));
}

Result<void> check_id(std::string_view id) {
  if (is_certificate_id(id)) return ok();
  Fault fault{Code::cloud_refused, Remedy::refuse, "this is no id of a certificate"};
  fault.seen = fmt::format("\"{}\"", escape_controls(id.substr(0, 256)));
  return fail(std::move(fault));
}

/// Whatever a text is, what is sent is JSON.
std::string text_of_json(const Json& object) { return object.dump(-1, ' ', false, Json::error_handler_t::replace); }

Call call_of(std::string operation, std::string method, std::string path) {
  Call call;
  call.operation = std::move(operation);
  call.method = std::move(method);
  call.path = std::move(path);
  return call;
}

std::string path_to(std::string_view before, std::string_view label, std::string_view after = {}) {
  return fmt::format("{}{}{}", before, encode_label(label), after);
}

void ask_for_page(Call& call, std::string size_name, std::string token_name, std::string token) {
  call.query.emplace_back(std::move(size_name), page_size);
  if (!token.empty()) call.query.emplace_back(std::move(token_name), std::move(token));
}

void name_principal(Call& call, std::string arn) { call.headers.push_back({"x-amzn-principal", std::move(arn)}); }

Json attribute_payload(const Attributes& attributes) { return {{"attributes", Json(attributes)}}; }

}  // namespace

Fault refused(std::string_view operation, std::string_view words, std::string advice) {
  Fault fault{Code::cloud_refused, Remedy::refuse, fmt::format("AWS IoT does not do {}", operation)};
  fault.where.step = operation;
  fault.seen = words;
  fault.advice = std::move(advice);
  return fault;
}

// Certificates

Task<Result<Reply<CreatedCertificate>>> Iot::create_certificate_from_csr(std::string csr_pem) {
  if (csr_pem.size() > longest_csr) {
    Fault fault{Code::cloud_refused, Remedy::refuse, "the certificate request is longer than AWS IoT takes"};
    fault.seen = fmt::format("{} characters, at most {}", csr_pem.size(), longest_csr);
    co_return fail(std::move(fault));
  }
  Call call = call_of("CreateCertificateFromCsr", "POST", "/certificates");
  call.query.emplace_back("setAsActive", "false");
  call.body = text_of_json({{"certificateSigningRequest", csr_pem}});
  call.repeatable = false;  // the same request makes another certificate each time
  co_return co_await ask_iot(client_, std::move(call), read_created_certificate);
}

Task<Result<Reply<CreatedCertificate>>> Iot::create_keys_and_certificate() {
  Call call = call_of("CreateKeysAndCertificate", "POST", "/keys-and-certificate");
  call.query.emplace_back("setAsActive", "false");
  call.repeatable = false;
  co_return co_await ask_iot(client_, std::move(call), read_created_keys);
}

Task<Result<Reply<CreatedCertificate>>> Iot::register_certificate_without_ca(std::string certificate_pem) {
  Call call = call_of("RegisterCertificateWithoutCA", "POST", "/certificate/register-no-ca");
  call.body = text_of_json({{"certificatePem", certificate_pem}, {"status", status::inactive}});
  co_return co_await ask_iot(client_, std::move(call), read_registered);
}

Task<Result<Reply<CertificateEntry>>> Iot::describe_certificate(std::string id) {
  CO_TRY(check_id(id));
  Call call = call_of("DescribeCertificate", "GET", path_to("/certificates/", id));
  co_return co_await ask_iot(client_, std::move(call), read_certificate);
}

Task<Result<Reply<>>> Iot::update_certificate(std::string id, std::string new_status) {
  CO_TRY(check_id(id));
  Call call = call_of("UpdateCertificate", "PUT", path_to("/certificates/", id));
  call.query.emplace_back("newStatus", std::move(new_status));
  co_return co_await ask_iot(client_, std::move(call), read_nothing);
}

Task<Result<Reply<>>> Iot::delete_certificate(std::string id) {
  CO_TRY(check_id(id));
  Call call = call_of("DeleteCertificate", "DELETE", path_to("/certificates/", id));
  co_return co_await ask_iot(client_, std::move(call), read_nothing);
}

Task<Result<Reply<Page<CertificateEntry>>>> Iot::list_certificates(std::string token) {
  Call call = call_of("ListCertificates", "GET", "/certificates");
  ask_for_page(call, "pageSize", "marker", std::move(token));
  co_return co_await ask_iot(client_, std::move(call), read_certificates);
}

// Things

Task<Result<Reply<Thing>>> Iot::create_thing(std::string name, std::string type, Attributes attributes) {
  CO_TRY(check_thing_name(name, "thing"));
  if (!type.empty()) CO_TRY(check_thing_name(type, "thing type"));
  CO_TRY(check_attributes(attributes, !type.empty()));
  Call call = call_of("CreateThing", "POST", path_to("/things/", name));
  Json body{{"attributePayload", attribute_payload(attributes)}};
  if (!type.empty()) body["thingTypeName"] = type;
  call.body = text_of_json(body);
  co_return co_await ask_iot(client_, std::move(call), read_created_thing);
}

Task<Result<Reply<Thing>>> Iot::describe_thing(std::string name) {
  CO_TRY(check_thing_name(name, "thing"));
  Call call = call_of("DescribeThing", "GET", path_to("/things/", name));
  co_return co_await ask_iot(client_, std::move(call), read_thing);
}

Task<Result<Reply<>>> Iot::update_thing(std::string name, std::string type, Attributes attributes,
                                        std::int64_t expected_version) {
  CO_TRY(check_thing_name(name, "thing"));
  if (!type.empty()) CO_TRY(check_thing_name(type, "thing type"));
  CO_TRY(check_attributes(attributes, true));  // how many there will be, the service knows
  Call call = call_of("UpdateThing", "PATCH", path_to("/things/", name));
  Json body{{"attributePayload", attribute_payload(attributes)}, {"expectedVersion", expected_version}};
  body["attributePayload"]["merge"] = true;
  if (!type.empty()) body["thingTypeName"] = type;
  call.body = text_of_json(body);
  co_return co_await ask_iot(client_, std::move(call), read_nothing);
}

Task<Result<Reply<>>> Iot::delete_thing(std::string name) {
  CO_TRY(check_thing_name(name, "thing"));
  Call call = call_of("DeleteThing", "DELETE", path_to("/things/", name));
  co_return co_await ask_iot(client_, std::move(call), read_nothing);
}

Task<Result<Reply<Page<Thing>>>> Iot::list_things(std::string attribute, std::string value, std::string token) {
  const Attributes wanted{{attribute, value}};
  CO_TRY(check_attributes(wanted, true));
  Call call = call_of("ListThings", "GET", "/things");
  call.query.emplace_back("attributeName", std::move(attribute));
  call.query.emplace_back("attributeValue", std::move(value));
  ask_for_page(call, "maxResults", "nextToken", std::move(token));
  co_return co_await ask_iot(client_, std::move(call), read_things);
}

Task<Result<Reply<>>> Iot::add_thing_to_group(std::string thing, std::string group) {
  CO_TRY(check_thing_name(thing, "thing"));
  CO_TRY(check_thing_name(group, "thing group"));
  Call call = call_of("AddThingToThingGroup", "PUT", "/thing-groups/addThingToThingGroup");
  call.body = text_of_json({{"thingGroupName", group}, {"thingName", thing}});
  co_return co_await ask_iot(client_, std::move(call), read_nothing);
}

// Principals

Task<Result<Reply<>>> Iot::attach_thing_principal(std::string thing, std::string arn) {
  CO_TRY(check_thing_name(thing, "thing"));
  CO_TRY(check_arn(arn));
  Call call = call_of("AttachThingPrincipal", "PUT", path_to("/things/", thing, "/principals"));
  name_principal(call, std::move(arn));
  co_return co_await ask_iot(client_, std::move(call), read_nothing);
}

Task<Result<Reply<>>> Iot::detach_thing_principal(std::string thing, std::string arn) {
  CO_TRY(check_thing_name(thing, "thing"));
  CO_TRY(check_arn(arn));
  Call call = call_of("DetachThingPrincipal", "DELETE", path_to("/things/", thing, "/principals"));
  name_principal(call, std::move(arn));
  co_return co_await ask_iot(client_, std::move(call), read_nothing);
}

Task<Result<Reply<Page<std::string>>>> Iot::list_thing_principals(std::string thing, std::string token) {
  CO_TRY(check_thing_name(thing, "thing"));
  Call call = call_of("ListThingPrincipals", "GET", path_to("/things/", thing, "/principals"));
  ask_for_page(call, "maxResults", "nextToken", std::move(token));
  co_return co_await ask_iot(client_, std::move(call), read_principals);
}

Task<Result<Reply<Page<std::string>>>> Iot::list_principal_things(std::string arn, std::string token) {
  CO_TRY(check_arn(arn));
  Call call = call_of("ListPrincipalThings", "GET", "/principals/things");
  name_principal(call, std::move(arn));
  ask_for_page(call, "maxResults", "nextToken", std::move(token));
  co_return co_await ask_iot(client_, std::move(call), read_thing_names);
}

// Policies

Task<Result<Reply<>>> Iot::create_policy(std::string name, std::string document) {
  CO_TRY(check_policy_name(name));
  Call call = call_of("CreatePolicy", "POST", path_to("/policies/", name));
  call.body = text_of_json({{"policyDocument", document}});
  co_return co_await ask_iot(client_, std::move(call), read_nothing);
}

Task<Result<Reply<Policy>>> Iot::get_policy(std::string name) {
  CO_TRY(check_policy_name(name));
  Call call = call_of("GetPolicy", "GET", path_to("/policies/", name));
  co_return co_await ask_iot(client_, std::move(call), read_policy);
}

Task<Result<Reply<>>> Iot::attach_policy(std::string name, std::string arn) {
  CO_TRY(check_policy_name(name));
  CO_TRY(check_arn(arn));
  Call call = call_of("AttachPolicy", "PUT", path_to("/target-policies/", name));
  call.body = text_of_json({{"target", arn}});
  co_return co_await ask_iot(client_, std::move(call), read_nothing);
}

Task<Result<Reply<>>> Iot::detach_policy(std::string name, std::string arn) {
  CO_TRY(check_policy_name(name));
  CO_TRY(check_arn(arn));
  Call call = call_of("DetachPolicy", "POST", path_to("/target-policies/", name));
  call.body = text_of_json({{"target", arn}});
  co_return co_await ask_iot(client_, std::move(call), read_nothing);
}

Task<Result<Reply<Page<std::string>>>> Iot::list_attached_policies(std::string arn, std::string token) {
  CO_TRY(check_arn(arn));
  Call call = call_of("ListAttachedPolicies", "POST", path_to("/attached-policies/", arn));
  ask_for_page(call, "pageSize", "marker", std::move(token));
  co_return co_await ask_iot(client_, std::move(call), read_policy_names);
}

Task<Result<Reply<>>> Iot::create_policy_version(std::string name, std::string document) {
  CO_TRY(check_policy_name(name));
  Call call = call_of("CreatePolicyVersion", "POST", path_to("/policies/", name, "/version"));
  call.query.emplace_back("setAsDefault", "true");
  call.body = text_of_json({{"policyDocument", document}});
  call.repeatable = false;  // each takes one of five places
  co_return co_await ask_iot(client_, std::move(call), read_nothing);
}

Task<Result<Reply<std::vector<PolicyVersion>>>> Iot::list_policy_versions(std::string name) {
  CO_TRY(check_policy_name(name));
  Call call = call_of("ListPolicyVersions", "GET", path_to("/policies/", name, "/version"));
  co_return co_await ask_iot(client_, std::move(call), read_policy_versions);
}

Task<Result<Reply<>>> Iot::delete_policy_version(std::string name, std::uint64_t number) {
  CO_TRY(check_policy_name(name));
  const std::string last = fmt::format("/version/{}", number);
  Call call = call_of("DeletePolicyVersion", "DELETE", path_to("/policies/", name, last));
  co_return co_await ask_iot(client_, std::move(call), read_nothing);
}

// What is there once

Task<Result<Reply<>>> Iot::create_thing_type(std::string name) {
  CO_TRY(check_thing_name(name, "thing type"));
  Call call = call_of("CreateThingType", "POST", path_to("/thing-types/", name));
  call.body = "{}";
  co_return co_await ask_iot(client_, std::move(call), read_nothing);
}

Task<Result<Reply<ThingType>>> Iot::describe_thing_type(std::string name) {
  CO_TRY(check_thing_name(name, "thing type"));
  Call call = call_of("DescribeThingType", "GET", path_to("/thing-types/", name));
  co_return co_await ask_iot(client_, std::move(call), read_thing_type);
}

Task<Result<Reply<>>> Iot::create_thing_group(std::string name) {
  CO_TRY(check_thing_name(name, "thing group"));
  Call call = call_of("CreateThingGroup", "POST", path_to("/thing-groups/", name));
  call.body = "{}";
  co_return co_await ask_iot(client_, std::move(call), read_nothing);
}

Task<Result<Reply<>>> Iot::describe_thing_group(std::string name) {
  CO_TRY(check_thing_name(name, "thing group"));
  Call call = call_of("DescribeThingGroup", "GET", path_to("/thing-groups/", name));
  co_return co_await ask_iot(client_, std::move(call), read_nothing);
}

Task<Result<Reply<std::string>>> Iot::describe_endpoint() {
  Call call = call_of("DescribeEndpoint", "GET", "/endpoint");
  call.query.emplace_back("endpointType", "iot:Data-ATS");
  co_return co_await ask_iot(client_, std::move(call), read_endpoint);
}

// Every page

Task<Result<Reply<std::vector<std::string>>>> Iot::principals_of(std::string thing) {
  PageOf<std::string> page = [this, thing](std::string token) {
    return list_thing_principals(thing, std::move(token));
  };
  co_return co_await every_page(std::move(page));
}

Task<Result<Reply<std::vector<std::string>>>> Iot::things_of(std::string arn) {
  PageOf<std::string> page = [this, arn](std::string token) { return list_principal_things(arn, std::move(token)); };
  co_return co_await every_page(std::move(page));
}

Task<Result<Reply<std::vector<std::string>>>> Iot::policies_of(std::string arn) {
  PageOf<std::string> page = [this, arn](std::string token) { return list_attached_policies(arn, std::move(token)); };
  co_return co_await every_page(std::move(page));
}

Task<Result<Reply<std::vector<Thing>>>> Iot::things_with(std::string attribute, std::string value) {
  PageOf<Thing> page = [this, attribute, value](std::string token) {
    return list_things(attribute, value, std::move(token));
  };
  co_return co_await every_page(std::move(page));
}

Task<Result<Reply<std::vector<CertificateEntry>>>> Iot::certificates() {
  PageOf<CertificateEntry> page = [this](std::string token) { return list_certificates(std::move(token)); };
  co_return co_await every_page(std::move(page));
}

}  // namespace espmint::aws
