#include "cloud/aws/replies.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

namespace espmint::aws {
namespace {

using Json = nlohmann::json;

constexpr std::size_t longest_text = 64 * 1024;  // a PEM, a policy, a token of a page
constexpr std::size_t longest_host = 253;
constexpr std::int64_t last_second = 253'402'300'799;  // of the year 9999

Fault not_as_documented(std::string seen) {
  Fault fault{Code::cloud_reply_invalid, Remedy::reconcile, "the answer is not what AWS IoT documents"};
  fault.seen = std::move(seen);
  fault.advice = "Look at what answers at the endpoint: a proxy, a captive portal or an emulator may";
  return fault;
}

Result<Json> object_in(std::string_view body) {
  auto object = Json::parse(body.begin(), body.end(), nullptr, false);
  if (!object.is_object()) return fail(not_as_documented("no JSON object"));
  return object;
}

using Shape = bool (*)(std::string_view);

bool is_any_text(std::string_view text) { return !text.empty() && text.size() <= longest_text; }

/// One line of something to be sent back or shown: a token, an id, a principal.
bool is_word(std::string_view text) {
  return is_any_text(text) && std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < '\x7f'; });
}

bool is_status(std::string_view text) {
  return !text.empty() && text.size() <= 32 &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= 'A' && c <= 'Z') || c == '_'; });
}

bool is_host(std::string_view text) {
  return !text.empty() && text.size() <= longest_host && text.front() != '-' && text.front() != '.' &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
         });
}

Result<std::string> text_of(const Json& value, std::string_view field, Shape shape) {
  const auto* text = value.get_ptr<const std::string*>();
  if (text == nullptr) return fail(not_as_documented(fmt::format("{} is no text", field)));
  if (!shape(*text)) return fail(not_as_documented(fmt::format("{} does not look like one", field)));
  return *text;
}

Result<std::string> text_in(const Json& object, const char* field, Shape shape) {
  auto value = object.find(field);
  if (value == object.end()) return fail(not_as_documented(fmt::format("{} is missing", field)));
  return text_of(*value, field, shape);
}

/// Empty where it is missing, null or empty.
Result<std::string> text_if_in(const Json& object, const char* field, Shape shape) {
  auto value = object.find(field);
  if (value == object.end() || value->is_null()) return std::string{};
  if (const auto* text = value->get_ptr<const std::string*>(); text != nullptr && text->empty()) return std::string{};
  return text_of(*value, field, shape);
}

Result<const Json*> child_in(const Json& object, const char* field, Json::value_t kind) {
  auto value = object.find(field);
  if (value == object.end() || value->type() != kind)
    return fail(not_as_documented(fmt::format("{} is missing", field)));
  return &*value;
}

/// The items of the list `field`, each read by `read`, and the token in `token`.
template <typename T, typename Read>
Result<Page<T>> page_in(std::string_view body, const char* field, const char* token, Read read) {
  TRY(Json object, object_in(body));
  TRY(const Json* list, child_in(object, field, Json::value_t::array));
  Page<T> page;
  for (const Json& item : *list) {
    TRY(T one, read(item));
    page.items.push_back(std::move(one));
  }
  TRY(page.next, text_if_in(object, token, is_word));
  return page;
}

/// "certificateArn", and "certificateId" where it is there: one certificate, not two.
Result<std::string> arn_in(const Json& object) {
  if (!object.is_object()) return fail(not_as_documented("a certificate is no object"));
  TRY(std::string arn, text_in(object, "certificateArn", is_certificate_arn));
  TRY(std::string id, text_if_in(object, "certificateId", is_certificate_id));
  if (!id.empty() && id != certificate_id_of(arn))
    return fail(not_as_documented("certificateId and certificateArn are of two certificates"));
  return arn;
}

Result<CertificateEntry> entry_in(const Json& object) {
  CertificateEntry entry;
  TRY(entry.arn, arn_in(object));
  TRY(entry.status, text_if_in(object, "status", is_status));
  // Seconds since 1970, with a fraction.
  if (auto created = object.find("creationDate"); created != object.end() && created->is_number()) {
    const double seconds = created->get<double>();
    if (seconds >= 0 && seconds <= static_cast<double>(last_second))
      entry.created = WallTime{std::chrono::seconds{static_cast<std::int64_t>(seconds)}};
  }
  return entry;
}

Result<Thing> thing_in(const Json& object) {
  if (!object.is_object()) return fail(not_as_documented("a thing is no object"));
  Thing thing;
  TRY(thing.name, text_in(object, "thingName", is_thing_name));
  TRY(thing.id, text_if_in(object, "thingId", is_word));
  TRY(thing.type, text_if_in(object, "thingTypeName", is_thing_name));
  if (auto attributes = object.find("attributes"); attributes != object.end() && !attributes->is_null()) {
    if (!attributes->is_object()) return fail(not_as_documented("attributes is no object"));
    for (const auto& [name, value] : attributes->items()) {
      const auto* text = value.get_ptr<const std::string*>();
      if (text == nullptr) return fail(not_as_documented("an attribute is no text"));
      thing.attributes.emplace(name, *text);
    }
  }
  if (auto version = object.find("version"); version != object.end() && !version->is_null()) {
    if (!version->is_number_integer()) return fail(not_as_documented("version is no number"));
    thing.version = version->get<std::int64_t>();
  }
  return thing;
}

Result<PolicyVersion> policy_version_in(const Json& object) {
  if (!object.is_object()) return fail(not_as_documented("a policy's version is no object"));
  TRY(std::string id, text_in(object, "versionId", is_word));
  PolicyVersion version;
  const auto [end, error] = std::from_chars(id.data(), id.data() + id.size(), version.number);
  if (error != std::errc{} || end != id.data() + id.size()) return fail(not_as_documented("versionId is no number"));
  auto is_default = object.find("isDefaultVersion");
  version.is_default = is_default != object.end() && is_default->is_boolean() && is_default->get<bool>();
  return version;
}

}  // namespace

Result<CreatedCertificate> read_created_certificate(std::string_view body) {
  TRY(Json object, object_in(body));
  CreatedCertificate created;
  TRY(created.arn, arn_in(object));
  TRY(created.pem, text_in(object, "certificatePem", is_any_text));
  return created;
}

Result<CreatedCertificate> read_created_keys(std::string_view body) {
  TRY(Json object, object_in(body));
  CreatedCertificate created;
  TRY(created.arn, arn_in(object));
  TRY(created.pem, text_in(object, "certificatePem", is_any_text));
  TRY(const Json* pair, child_in(object, "keyPair", Json::value_t::object));
  auto key = pair->find("PrivateKey");
  if (key == pair->end() || !key->is_string()) return fail(not_as_documented("PrivateKey is missing"));
  auto& text = const_cast<Json&>(*key).get_ref<std::string&>();
  if (is_any_text(text)) created.private_key_pem = Secret{to_bytes(text)};
  wipe({reinterpret_cast<std::uint8_t*>(text.data()), text.size()});
  if (created.private_key_pem.empty()) return fail(not_as_documented("PrivateKey does not look like one"));
  return created;
}

Result<CreatedCertificate> read_registered(std::string_view body) {
  TRY(Json object, object_in(body));
  CreatedCertificate created;
  TRY(created.arn, arn_in(object));
  return created;
}

Result<CertificateEntry> read_certificate(std::string_view body) {
  TRY(Json object, object_in(body));
  TRY(const Json* description, child_in(object, "certificateDescription", Json::value_t::object));
  TRY(CertificateEntry entry, entry_in(*description));
  TRY(entry.pem, text_in(*description, "certificatePem", is_any_text));
  return entry;
}

Result<Page<CertificateEntry>> read_certificates(std::string_view body) {
  return page_in<CertificateEntry>(body, "certificates", "nextMarker", entry_in);
}

Result<Thing> read_thing(std::string_view body) {
  TRY(Json object, object_in(body));
  return thing_in(object);
}

Result<Thing> read_created_thing(std::string_view body) { return read_thing(body); }

Result<Page<Thing>> read_things(std::string_view body) { return page_in<Thing>(body, "things", "nextToken", thing_in); }

Result<Page<std::string>> read_thing_names(std::string_view body) {
  return page_in<std::string>(body, "things", "nextToken",
                              [](const Json& item) { return text_of(item, "a thing's name", is_thing_name); });
}

Result<Page<std::string>> read_principals(std::string_view body) {
  return page_in<std::string>(body, "principals", "nextToken",
                              [](const Json& item) { return text_of(item, "a principal", is_word); });
}

Result<Policy> read_policy(std::string_view body) {
  TRY(Json object, object_in(body));
  Policy policy;
  TRY(policy.name, text_if_in(object, "policyName", is_policy_name));
  TRY(policy.document, text_in(object, "policyDocument", is_any_text));
  TRY(policy.default_version, text_if_in(object, "defaultVersionId", is_word));
  return policy;
}

Result<Page<std::string>> read_policy_names(std::string_view body) {
  return page_in<std::string>(body, "policies", "nextMarker", [](const Json& item) -> Result<std::string> {
    if (!item.is_object()) return fail(not_as_documented("a policy is no object"));
    return text_in(item, "policyName", is_policy_name);
  });
}

Result<std::vector<PolicyVersion>> read_policy_versions(std::string_view body) {
  TRY(auto page, page_in<PolicyVersion>(body, "policyVersions", "nextMarker", policy_version_in));
  return std::move(page.items);
}

Result<ThingType> read_thing_type(std::string_view body) {
  TRY(Json object, object_in(body));
  ThingType type;
  TRY(type.name, text_if_in(object, "thingTypeName", is_thing_name));
  if (auto metadata = object.find("thingTypeMetadata"); metadata != object.end() && metadata->is_object()) {
    auto deprecated = metadata->find("deprecated");
    type.deprecated = deprecated != metadata->end() && deprecated->is_boolean() && deprecated->get<bool>();
  }
  return type;
}

Result<std::string> read_endpoint(std::string_view body) {
  TRY(Json object, object_in(body));
  return text_in(object, "endpointAddress", is_host);
}

}  // namespace espmint::aws
