// cloud/aws/test_client.hpp: for tests: a Client that keeps things, certificates and policies in memory, and does wrong
// what it is told to. It knows the operations of iot.hpp, no signatures and no limits of rate.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/base64.hpp"
#include "cloud/aws/client.hpp"
#include "cloud/aws/names.hpp"
#include "identity/local_ca.hpp"
#include "io/test_folder.hpp"

namespace espmint::aws {

class TestClient final : public Client {
 public:
  struct HeldCertificate {
    std::string pem, status = "INACTIVE";
    std::set<std::string> things, policies;
    double created = 0;
  };
  struct HeldThing {
    std::string id, type;
    Attributes attributes;
    std::int64_t version = 1;
    std::set<std::string> groups;
  };
  struct HeldPolicy {
    std::map<std::uint64_t, std::string> versions;
    std::uint64_t standard = 1, next = 2;
  };
  /// What befalls the next call of an operation: a fault or an answer instead of its own, with or without its effect.
  struct Mishap {
    std::string operation;
    bool has_effect = false;
    Result<Answer> instead;
  };

  std::map<std::string, HeldCertificate> certificates;  // by ARN
  std::map<std::string, HeldThing> things;
  std::map<std::string, HeldPolicy> policies;
  std::map<std::string, bool> types;  // true: deprecated
  std::set<std::string> groups;
  std::deque<Mishap> mishaps;
  std::vector<std::string> heard;  // operations, in order
  std::string endpoint = "a1b2c3-ats.iot.eu-central-1.amazonaws.com";
  std::size_t page = 250;        // items of a list at a time
  int detach_is_seen_after = 0;  // deletes that are refused since detaching has not arrived
  bool answers_for_another_key = false;

  Task<Result<Answer>> call(Call call) override {
    heard.push_back(call.operation);
    for (auto mishap = mishaps.begin(); mishap != mishaps.end(); ++mishap)
      if (mishap->operation == call.operation) {
        Mishap now = std::move(*mishap);
        mishaps.erase(mishap);
        if (now.has_effect) (void)answer(call);
        co_return std::move(now.instead);
      }
    co_return answer(call);
  }
  [[nodiscard]] const std::string& region() const override { return region_; }

  static Answer error(std::string name, std::string message = "as the test has it") {
    Answer answer;
    answer.status = 400;
    answer.error = std::move(name);
    answer.message = std::move(message);
    return answer;
  }
  static Answer good(std::string body) {
    Answer answer;
    answer.status = 200;
    answer.body = std::move(body);
    return answer;
  }
  static Result<Answer> lost() {
    return fail({Code::cloud_unreachable, Remedy::reconcile, "the connection was cut", {}, {}, {}});
  }
  void lose_reply_of(std::string operation) { mishaps.push_back({std::move(operation), true, lost()}); }
  void cut_before(std::string operation) { mishaps.push_back({std::move(operation), false, lost()}); }
  void refuse(std::string operation, std::string name) {
    mishaps.push_back({std::move(operation), false, error(std::move(name))});
  }

  [[nodiscard]] int times(std::string_view operation) const {
    return static_cast<int>(std::count(heard.begin(), heard.end(), operation));
  }
  static std::string arn_of(std::string_view id) {
    return "arn:aws:iot:eu-central-1:123456789012:cert/" + std::string{id};
  }
  /// A certificate that is there already; of a key of its own where `der` is not given.
  std::string add_certificate(std::string status, std::set<std::string> of_things, Bytes public_key_csr = {}) {
    if (public_key_csr.empty()) public_key_csr = *build_csr(*mint_key(KeyKind::ec_p256), "older");
    const std::string arn = keep(*ca_.sign(*parse_csr(public_key_csr), *mint_serial()));
    certificates[arn].status = std::move(status);
    certificates[arn].things = std::move(of_things);
    return arn;
  }
  void add_thing(const std::string& name, Attributes attributes, std::string type = {}) {
    things[name] = {"thing-id-of-" + name, std::move(type), std::move(attributes), 1, {}};
  }
  void add_policy(const std::string& name, std::string document) {
    policies[name] = {{{1, std::move(document)}}, 1, 2};
  }
  LocalCa& ca() { return ca_; }

 private:
  using Json = nlohmann::json;

  static Answer absent() { return error("ResourceNotFoundException"); }
  static Answer good_json(const Json& body) { return good(body.dump()); }

  static std::vector<std::string> labels_of(std::string_view path) {
    std::vector<std::string> labels;
    for (std::string_view encoded : split_path(path)) {
      std::string label;
      for (std::size_t i = 0; i < encoded.size(); ++i) {
        if (encoded[i] == '%' && i + 2 < encoded.size()) {
          label += as_text(*from_hex(lower_hex(encoded.substr(i + 1, 2))));
          i += 2;
        } else {
          label += encoded[i];
        }
      }
      labels.push_back(std::move(label));
    }
    return labels;
  }
  static std::string lower_hex(std::string_view text) {
    std::string out{text};
    for (char& c : out) c = c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
    return out;
  }
  static std::vector<std::string_view> split_path(std::string_view path) {
    std::vector<std::string_view> parts;
    path.remove_prefix(1);
    for (std::size_t slash = path.find('/'); slash != std::string_view::npos; slash = path.find('/')) {
      parts.push_back(path.substr(0, slash));
      path.remove_prefix(slash + 1);
    }
    parts.push_back(path);
    return parts;
  }
  static std::string asked(const Call& call, std::string_view name) {
    for (const auto& [key, value] : call.query)
      if (key == name) return value;
    return {};
  }

  /// The part of `all` that the call asks for.
  Answer paged(const Call& call, const char* field, const char* token, const std::vector<Json>& all) const {
    const std::string from = asked(call, token == std::string_view{"nextMarker"} ? "marker" : "nextToken");
    const std::size_t first = from.empty() ? 0 : std::stoul(from);
    Json body{{field, Json::array()}};
    for (std::size_t i = first; i < all.size() && i < first + page; ++i) body[field].push_back(all[i]);
    if (first + page < all.size()) body[token] = std::to_string(first + page);
    return good_json(body);
  }

  std::string keep(const Certificate& certificate) {
    std::string arn = arn_of(to_hex(certificate.sha256));
    certificates[arn] = {certificate.pem, "INACTIVE", {}, {}, 1'760'000'000.5};
    return arn;
  }

  Answer made(const Certificate& certificate, Json body = Json::object()) {
    const std::string arn = keep(certificate);
    body.update(
        {{"certificateArn", arn}, {"certificateId", certificate_id_of(arn)}, {"certificatePem", certificate.pem}});
    return good_json(body);
  }

  static Json described(const std::string& arn, const HeldCertificate& held) {
    return {{"certificateArn", arn},
            {"certificateId", certificate_id_of(arn)},
            {"status", held.status},
            {"creationDate", held.created}};
  }
  static Json described(const std::string& name, const HeldThing& held) {
    Json thing{{"thingName", name}, {"attributes", Json(held.attributes)}, {"version", held.version}};
    if (!held.type.empty()) thing["thingTypeName"] = held.type;
    return thing;
  }

  Answer answer(const Call& call) {
    const std::vector<std::string> path = labels_of(call.path);
    const Json body = call.body.empty() ? Json::object() : Json::parse(call.body);
    std::string principal;
    for (const HttpHeader& header : call.headers)
      if (header.name == "x-amzn-principal") principal = header.value;
    if (path[0] == "certificates" || path[0] == "keys-and-certificate" || path[0] == "certificate")
      return about_certificates(call, path, body);
    if (path[0] == "things" || path[0] == "principals") return about_things(call, path, body, principal);
    if (path[0] == "target-policies" || path[0] == "attached-policies" || path[0] == "policies")
      return about_policies(call, path, body);
    if (call.operation == "AddThingToThingGroup") {
      if (!groups.contains(body["thingGroupName"]) || !things.contains(body["thingName"])) return absent();
      things[body["thingName"]].groups.insert(std::string{body["thingGroupName"]});
      return good("");
    }
    if (call.operation == "CreateThingGroup") {
      groups.insert(path[1]);
      return good_json({{"thingGroupName", path[1]}});
    }
    if (call.operation == "DescribeThingGroup")
      return groups.contains(path[1]) ? good_json({{"thingGroupName", path[1]}}) : absent();
    if (call.operation == "CreateThingType") {
      types.emplace(path[1], false);
      return good_json({{"thingTypeName", path[1]}});
    }
    if (call.operation == "DescribeThingType") {
      if (!types.contains(path[1])) return absent();
      return good_json({{"thingTypeName", path[1]}, {"thingTypeMetadata", {{"deprecated", types[path[1]]}}}});
    }
    if (call.operation == "DescribeEndpoint" && asked(call, "endpointType") == "iot:Data-ATS")
      return good_json({{"endpointAddress", endpoint}});
    return error("InvalidRequestException", "unknown call " + call.operation);
  }

  Answer about_certificates(const Call& call, const std::vector<std::string>& path, const Json& body) {
    if (call.operation == "CreateCertificateFromCsr") {
      std::string pem = body["certificateSigningRequest"];
      CertificateRequest request = *parse_csr(der_of(pem));
      if (answers_for_another_key) request.public_key_der = mint_key(KeyKind::ec_p256)->public_key_der();
      return made(*ca_.sign(request, *mint_serial()));
    }
    if (call.operation == "CreateKeysAndCertificate") {
      const PrivateKey key = *mint_key(KeyKind::ec_p256);
      const Secret pem = *key.pem();
      const Json pair{{"keyPair", {{"PublicKey", "unread"}, {"PrivateKey", std::string{as_text(pem.reveal())}}}}};
      return made(*ca_.sign(*parse_csr(*build_csr(key, "AWS IoT Certificate")), *mint_serial()), pair);
    }
    if (call.operation == "RegisterCertificateWithoutCA") {
      const std::string pem = body["certificatePem"];
      const Certificate certificate = *parse_certificate(as_bytes(pem));
      const std::string arn = arn_of(to_hex(certificate.sha256));
      if (certificates.contains(arn)) {
        Answer there = error("ResourceAlreadyExistsException");
        there.resource_arn = arn;
        return there;
      }
      return made(certificate);
    }
    if (call.operation == "ListCertificates") {
      std::vector<Json> all;
      for (const auto& [arn, held] : certificates) all.push_back(described(arn, held));
      return paged(call, "certificates", "nextMarker", all);
    }
    auto held = certificates.find(arn_of(path[1]));
    if (held == certificates.end()) return absent();
    if (call.operation == "DescribeCertificate") {
      Json description = described(held->first, held->second);
      description["certificatePem"] = held->second.pem;
      return good_json({{"certificateDescription", description}});
    }
    if (call.operation == "UpdateCertificate") {
      held->second.status = asked(call, "newStatus");
      return good("");
    }
    if (detach_is_seen_after > 0 && detach_is_seen_after-- > 0) return error("DeleteConflictException");
    if (held->second.status == "ACTIVE") return error("CertificateStateException");
    if (!held->second.things.empty() || !held->second.policies.empty()) return error("DeleteConflictException");
    certificates.erase(held);
    return good("");
  }

  Answer about_things(const Call& call, const std::vector<std::string>& path, const Json& body,
                      const std::string& principal) {
    if (call.operation == "ListThings") {
      std::vector<Json> all;
      for (const auto& [name, held] : things) {
        auto value = held.attributes.find(asked(call, "attributeName"));
        if (value != held.attributes.end() && value->second == asked(call, "attributeValue"))
          all.push_back(described(name, held));
      }
      return paged(call, "things", "nextToken", all);
    }
    if (call.operation == "ListPrincipalThings") {
      if (!certificates.contains(principal)) return absent();
      const auto& of = certificates[principal].things;
      return paged(call, "things", "nextToken", {of.begin(), of.end()});
    }
    const std::string& name = path[1];
    if (call.operation == "CreateThing") return create_thing(name, body);
    if (call.operation == "DeleteThing") {
      if (detach_is_seen_after > 0 && detach_is_seen_after-- > 0) return error("InvalidRequestException");
      for (const auto& [arn, held] : certificates)
        if (held.things.contains(name)) return error("InvalidRequestException", "still attached");
      things.erase(name);
      return good("");
    }
    if (!things.contains(name)) return absent();
    HeldThing& thing = things[name];
    if (call.operation == "DescribeThing") {
      Json description = described(name, thing);
      description["thingId"] = thing.id;
      return good_json(description);
    }
    if (call.operation == "UpdateThing") {
      if (body["expectedVersion"] != thing.version) return error("VersionConflictException");
      for (const auto& [key, value] : body["attributePayload"]["attributes"].items()) thing.attributes[key] = value;
      if (body.contains("thingTypeName")) thing.type = body["thingTypeName"];
      ++thing.version;
      return good("{}");
    }
    if (call.operation == "ListThingPrincipals") {
      std::vector<Json> all;
      for (const auto& [arn, held] : certificates)
        if (held.things.contains(name)) all.emplace_back(arn);
      return paged(call, "principals", "nextToken", all);
    }
    if (!certificates.contains(principal)) return absent();
    if (call.operation == "AttachThingPrincipal")
      certificates[principal].things.insert(name);
    else
      certificates[principal].things.erase(name);
    return good("{}");
  }

  Answer create_thing(const std::string& name, const Json& body) {
    const Attributes attributes = body["attributePayload"]["attributes"];
    const std::string type = body.value("thingTypeName", std::string{});
    if (!type.empty() && !types.contains(type)) return absent();
    auto there = things.find(name);
    if (there != things.end() && (there->second.attributes != attributes || there->second.type != type))
      return error("ResourceAlreadyExistsException");
    if (there == things.end()) add_thing(name, attributes, type);
    return good_json({{"thingName", name}, {"thingId", things[name].id}});
  }

  Answer about_policies(const Call& call, const std::vector<std::string>& path, const Json& body) {
    if (call.operation == "ListAttachedPolicies") {
      if (!certificates.contains(path[1])) return absent();
      std::vector<Json> all;
      for (const std::string& name : certificates[path[1]].policies) all.push_back({{"policyName", name}});
      return paged(call, "policies", "nextMarker", all);
    }
    const std::string& name = path[1];
    if (call.operation == "CreatePolicy") {
      if (policies.contains(name)) return error("ResourceAlreadyExistsException");
      add_policy(name, body["policyDocument"]);
      return good("{}");
    }
    auto held = policies.find(name);
    if (held == policies.end()) return absent();
    HeldPolicy& policy = held->second;
    if (call.operation == "AttachPolicy" || call.operation == "DetachPolicy") {
      auto target = certificates.find(body["target"]);
      if (target == certificates.end()) return absent();
      if (call.operation == "AttachPolicy")
        target->second.policies.insert(name);
      else
        target->second.policies.erase(name);
      return good("");
    }
    if (call.operation == "GetPolicy")
      return good_json({{"policyName", name},
                        {"policyDocument", policy.versions[policy.standard]},
                        {"defaultVersionId", std::to_string(policy.standard)}});
    if (call.operation == "ListPolicyVersions") {
      Json versions = Json::array();
      for (const auto& [number, document] : policy.versions)
        versions.push_back({{"versionId", std::to_string(number)}, {"isDefaultVersion", number == policy.standard}});
      return good_json({{"policyVersions", versions}});
    }
    if (call.operation == "CreatePolicyVersion") {
      if (policy.versions.size() >= 5) return error("VersionsLimitExceededException");
      policy.standard = policy.next++;
      policy.versions[policy.standard] = body["policyDocument"];
      return good("{}");
    }
    if (call.operation == "DeletePolicyVersion") {
      if (std::stoull(path[3]) == policy.standard) return error("DeleteConflictException");
      return policy.versions.erase(std::stoull(path[3])) == 1 ? good("") : absent();
    }
    return error("InvalidRequestException", "unknown call " + call.operation);
  }

  static Bytes der_of(std::string_view pem);

  std::string region_ = "eu-central-1";
  TestFolder folder_;
  LocalCa ca_ = *LocalCa::init(folder_ / "ca", "Amazon of this test", WallTime{std::chrono::seconds{1'760'000'000}});
};

/// What lies between the first two lines of dashes, base64 decoded.
inline Bytes TestClient::der_of(std::string_view pem) {
  std::string text;
  for (std::size_t at = pem.find('\n') + 1; at < pem.size() && pem[at] != '-'; ++at)
    if (pem[at] != '\n') text += pem[at];
  return from_base64(text).value_or(Bytes{});
}

}  // namespace espmint::aws
