#include "sim/cloud/iot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.hpp"

namespace espmint::sim {
namespace {

using iot::Ask;
using iot::Outcome;
using nlohmann::json;

constexpr std::string_view everything =
    R"({"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"*"}]})";
constexpr std::string_view station_rights =
    R"({"Version":"2012-10-17","Statement":[{"Effect":"Allow","Resource":"*","Action":[
  "iot:CreateCertificateFromCsr", "iot:CreateKeysAndCertificate", "iot:RegisterCertificate",
  "iot:RegisterCertificateWithoutCA", "iot:DescribeCertificate", "iot:UpdateCertificate", "iot:ListCertificates",
  "iot:CreateThing", "iot:DescribeThing", "iot:UpdateThing", "iot:ListThings", "iot:DescribeThingType",
  "iot:AttachThingPrincipal", "iot:DetachThingPrincipal", "iot:ListThingPrincipals", "iot:ListPrincipalThings",
  "iot:GetPolicy", "iot:AttachPolicy", "iot:DetachPolicy", "iot:ListAttachedPolicies", "iot:ListTargetsForPolicy",
  "iot:DescribeThingGroup", "iot:AddThingToThingGroup", "iot:ListThingGroupsForThing", "iot:DescribeEndpoint"]}]})";

constexpr std::uint64_t seed_of_faults = 0x6661'756c'7473;

AccessKey new_key(Dice& dice) {
  constexpr std::string_view for_ids = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  constexpr std::string_view for_secrets = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  AccessKey key{.id = "AKIA", .secret = {}};
  while (key.id.size() < 20) key.id.push_back(for_ids[dice.below(for_ids.size())]);
  while (key.secret.size() < 40) key.secret.push_back(for_secrets[dice.below(for_secrets.size())]);
  return key;
}

std::string usual_endpoint(Dice& dice, std::string_view region) {
  std::string prefix = "a";
  while (prefix.size() < 14) prefix.push_back("abcdefghijklmnopqrstuvwxyz0123456789"[dice.below(36)]);
  return fmt::format("{}-ats.iot.{}.amazonaws.com", prefix, region);
}

/// RFC 9110: "Sun, 22 Nov 2026 03:47:05 GMT"
std::string http_date(WallTime at) {
  constexpr std::array days{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr std::array months{"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  namespace chr = std::chrono;
  auto midnight = chr::floor<chr::days>(at);
  chr::year_month_day date{midnight};
  chr::hh_mm_ss time{at - midnight};
  return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT", days[chr::weekday{midnight}.c_encoding()],
                     static_cast<unsigned>(date.day()), months[static_cast<unsigned>(date.month()) - 1],
                     static_cast<int>(date.year()), time.hours().count(), time.minutes().count(),
                     time.seconds().count());
}

}  // namespace

/// What a permission is asked for.
enum class Resource { any, thing, named_thing, type, group, certificate, authority, policy, target, principal };

struct Iot::Route {
  std::string_view operation, method, path;  // "{}": a label
  iot::Operation act;
  Resource resource;
};

// Source: AWS IoT API Reference, request syntax of each; resources: AWS IoT Developer Guide, Policy actions and their
// resources in "How AWS IoT works with IAM".
const std::vector<Iot::Route>& Iot::routes() {
  using R = Resource;
  static const std::vector<Route> table{
      // fixed paths before those with a label in their place
      {"AddThingToThingGroup", "PUT", "/thing-groups/addThingToThingGroup", iot::add_thing_to_thing_group,
       R::named_thing},
      {"RemoveThingFromThingGroup", "PUT", "/thing-groups/removeThingFromThingGroup",
       iot::remove_thing_from_thing_group, R::named_thing},
      {"RegisterCertificate", "POST", "/certificate/register", iot::register_certificate, R::any},
      {"RegisterCertificateWithoutCA", "POST", "/certificate/register-no-ca", iot::register_certificate_without_ca,
       R::any},

      {"CreateThing", "POST", "/things/{}", iot::create_thing, R::thing},
      {"DescribeThing", "GET", "/things/{}", iot::describe_thing, R::thing},
      {"UpdateThing", "PATCH", "/things/{}", iot::update_thing, R::thing},
      {"DeleteThing", "DELETE", "/things/{}", iot::delete_thing, R::thing},
      {"ListThings", "GET", "/things", iot::list_things, R::any},
      {"AttachThingPrincipal", "PUT", "/things/{}/principals", iot::attach_thing_principal, R::principal},
      {"DetachThingPrincipal", "DELETE", "/things/{}/principals", iot::detach_thing_principal, R::principal},
      {"ListThingPrincipals", "GET", "/things/{}/principals", iot::list_thing_principals, R::thing},
      {"ListPrincipalThings", "GET", "/principals/things", iot::list_principal_things, R::principal},
      {"ListThingGroupsForThing", "GET", "/things/{}/thing-groups", iot::list_thing_groups_for_thing, R::thing},

      {"CreateThingType", "POST", "/thing-types/{}", iot::create_thing_type, R::type},
      {"DescribeThingType", "GET", "/thing-types/{}", iot::describe_thing_type, R::type},
      {"ListThingTypes", "GET", "/thing-types", iot::list_thing_types, R::any},
      {"DeprecateThingType", "POST", "/thing-types/{}/deprecate", iot::deprecate_thing_type, R::type},
      {"DeleteThingType", "DELETE", "/thing-types/{}", iot::delete_thing_type, R::type},
      {"CreateThingGroup", "POST", "/thing-groups/{}", iot::create_thing_group, R::group},
      {"DescribeThingGroup", "GET", "/thing-groups/{}", iot::describe_thing_group, R::group},
      {"ListThingGroups", "GET", "/thing-groups", iot::list_thing_groups, R::any},
      {"DeleteThingGroup", "DELETE", "/thing-groups/{}", iot::delete_thing_group, R::group},
      {"ListThingsInThingGroup", "GET", "/thing-groups/{}/things", iot::list_things_in_thing_group, R::group},

      {"CreateCertificateFromCsr", "POST", "/certificates", iot::create_certificate_from_csr, R::any},
      {"CreateKeysAndCertificate", "POST", "/keys-and-certificate", iot::create_keys_and_certificate, R::any},
      {"DescribeCertificate", "GET", "/certificates/{}", iot::describe_certificate, R::certificate},
      {"UpdateCertificate", "PUT", "/certificates/{}", iot::update_certificate, R::certificate},
      {"DeleteCertificate", "DELETE", "/certificates/{}", iot::delete_certificate, R::certificate},
      {"ListCertificates", "GET", "/certificates", iot::list_certificates, R::any},
      {"ListCertificatesByCA", "GET", "/certificates-by-ca/{}", iot::list_certificates_by_ca, R::any},
      {"RegisterCACertificate", "POST", "/cacertificate", iot::register_ca_certificate, R::any},
      {"DescribeCACertificate", "GET", "/cacertificate/{}", iot::describe_ca_certificate, R::authority},
      {"UpdateCACertificate", "PUT", "/cacertificate/{}", iot::update_ca_certificate, R::authority},
      {"DeleteCACertificate", "DELETE", "/cacertificate/{}", iot::delete_ca_certificate, R::authority},
      {"ListCACertificates", "GET", "/cacertificates", iot::list_ca_certificates, R::any},
      {"GetRegistrationCode", "GET", "/registrationcode", iot::get_registration_code, R::any},

      {"CreatePolicy", "POST", "/policies/{}", iot::create_policy, R::policy},
      {"GetPolicy", "GET", "/policies/{}", iot::get_policy, R::policy},
      {"ListPolicies", "GET", "/policies", iot::list_policies, R::any},
      {"DeletePolicy", "DELETE", "/policies/{}", iot::delete_policy, R::policy},
      {"CreatePolicyVersion", "POST", "/policies/{}/version", iot::create_policy_version, R::policy},
      {"GetPolicyVersion", "GET", "/policies/{}/version/{}", iot::get_policy_version, R::policy},
      {"ListPolicyVersions", "GET", "/policies/{}/version", iot::list_policy_versions, R::policy},
      {"SetDefaultPolicyVersion", "PATCH", "/policies/{}/version/{}", iot::set_default_policy_version, R::policy},
      {"DeletePolicyVersion", "DELETE", "/policies/{}/version/{}", iot::delete_policy_version, R::policy},
      {"AttachPolicy", "PUT", "/target-policies/{}", iot::attach_policy, R::target},
      {"DetachPolicy", "POST", "/target-policies/{}", iot::detach_policy, R::target},
      {"ListAttachedPolicies", "POST", "/attached-policies/{}", iot::list_attached_policies, R::any},
      {"ListTargetsForPolicy", "POST", "/policy-targets/{}", iot::list_targets_for_policy, R::policy},
      {"AttachPrincipalPolicy", "PUT", "/principal-policies/{}", iot::attach_principal_policy, R::principal},
      {"DetachPrincipalPolicy", "DELETE", "/principal-policies/{}", iot::detach_principal_policy, R::principal},
      {"ListPrincipalPolicies", "GET", "/principal-policies", iot::list_principal_policies, R::any},
      {"ListPolicyPrincipals", "GET", "/policy-principals", iot::list_policy_principals, R::any},
      {"DescribeEndpoint", "GET", "/endpoint", iot::describe_endpoint, R::any},
  };
  return table;
}

const Iot::Route* Iot::route_of(const CloudRequest& request, std::vector<std::string>& labels) {
  std::vector<std::string_view> given = split(request.path(), '/');
  for (const Route& route : routes()) {
    if (route.method != request.method) continue;
    std::vector<std::string_view> wanted = split(route.path, '/');
    if (wanted.size() != given.size()) continue;
    labels.clear();
    bool is_it = true;
    for (std::size_t i = 0; i < wanted.size() && is_it; ++i) {
      if (wanted[i] == "{}")
        labels.push_back(percent_decoded(given[i]));
      else
        is_it = wanted[i] == given[i];
    }
    if (is_it && std::none_of(labels.begin(), labels.end(), [](const std::string& label) { return label.empty(); }))
      return &route;
  }
  labels.clear();
  return nullptr;
}

Iot::Iot(const Clock& clock, IotOptions options)
    : clock_(clock),
      account_{.region = options.region,
               .number = options.account,
               .data_endpoint = options.endpoint,
               .delays = options.delays,
               .dice = Dice{options.seed},
               .authority = iot::CertificateAuthority{options.seed, clock.wall()},
               .registration_code = {}},
      faults_(options.seed ^ seed_of_faults) {
  account_.registration_code = account_.new_hex(32);
  if (account_.data_endpoint.empty()) account_.data_endpoint = usual_endpoint(account_.dice, account_.region);
  (void)add_user("admin", everything);
  (void)add_user("station", station_rights);
}

std::string Iot::url() const { return fmt::format("https://iot.{}.amazonaws.com", account_.region); }

std::string Iot::root_ca_pem() const { return iot::pem_of_certificate(account_.authority.root_der()); }

Result<IotUser*> Iot::add_user(std::string name, std::string_view iam_policy) {
  auto permissions = iot::parse_policy_document(iam_policy, iot::PolicyKind::iam);
  if (!permissions) return fail({.code = Code::input_invalid, .remedy = Remedy::refuse, .what = permissions.error()});
  users_.push_back(
      std::make_unique<IotUser>(IotUser{new_key(account_.dice), std::move(name), std::move(*permissions)}));
  return users_.back().get();
}

std::uint64_t Iot::calls_of(std::string_view operation) const {
  auto at = calls_.find(operation);
  return at == calls_.end() ? 0 : at->second.received;
}

HttpReply Iot::refuse(std::string operation, int status, std::string error, std::string message) {
  ++calls_[std::move(operation)].errors[error];
  return reply_of({status, std::move(error), std::move(message)});
}

HttpReply Iot::reply_of(const Outcome& outcome) {
  HttpReply reply;
  reply.status = outcome.status;
  reply.headers = {{"Date", http_date(wall())}, {"x-amzn-RequestId", account_.new_uuid()}};
  json body = outcome.body;
  if (!outcome.error.empty()) {
    body = {{"message", outcome.message}};
    if (!outcome.resource_id.empty()) body["resourceId"] = outcome.resource_id;
    if (!outcome.resource_arn.empty()) body["resourceArn"] = outcome.resource_arn;
    // The type stands alone or with where it came from; clients are to cut at the colon.
    constexpr std::string_view origin = ":http://internal.amazon.com/coral/com.amazonaws.iot/";
    reply.headers.push_back(
        {"x-amzn-ErrorType", ++replies_ % 2 == 0 ? outcome.error + std::string{origin} : outcome.error});
  }
  if (!body.is_null()) {
    reply.headers.push_back({"Content-Type", "application/json"});
    reply.body = body.dump(-1, ' ', false, json::error_handler_t::replace);
  }
  return reply;
}

std::optional<Outcome> Iot::refusal_of(const Route& route, const IotUser& user, const Ask& ask,
                                       const std::vector<std::string>& labels) {
  std::string resource = "*";
  switch (route.resource) {
    case Resource::any:
      break;
    case Resource::thing:
      resource = account_.arn("thing", labels[0]);
      break;
    case Resource::named_thing:  // the group's ARN, which is asked for too, is left out
      resource = account_.arn("thing", ask.text("thingName"));
      break;
    case Resource::type:
      resource = account_.arn("thingtype", labels[0]);
      break;
    case Resource::group:
      resource = account_.arn("thinggroup", labels[0]);
      break;
    case Resource::certificate:
      resource = account_.arn("cert", labels[0]);
      break;
    case Resource::authority:
      resource = account_.arn("cacert", labels[0]);
      break;
    case Resource::policy:
      resource = account_.arn("policy", labels[0]);
      break;
    case Resource::target:
      resource = ask.text("target");
      break;
    case Resource::principal:
      resource = ask.header("x-amzn-principal");
      if (resource.empty()) resource = ask.header("x-amzn-iot-principal");
      break;
  }
  std::string action = fmt::format("iot:{}", route.operation);
  iot::Verdict verdict = iot::judge(user.permissions, action, resource, [](std::string_view) { return std::nullopt; });
  if (verdict == iot::Verdict::allowed) return std::nullopt;
  std::string_view why = verdict == iot::Verdict::denied ? "with an explicit deny in an identity-based policy"
                                                         : "because no identity-based policy allows the";
  std::string end = verdict == iot::Verdict::denied ? std::string{} : fmt::format(" {} action", action);
  return Outcome{403, "AccessDeniedException",
                 fmt::format("User: arn:aws:iam::{}:user/{} is not authorized to perform: {} on resource: {} {}{}",
                             account_.number, user.name, action, resource, why, end)};
}

HttpReply Iot::answer(const CloudRequest& request) {
  Instant now = clock_.now();
  account_.settle(now);
  std::vector<const AccessKey*> keys;
  for (const auto& user : users_) keys.push_back(&user->key);
  auto key = verify_signature(request, keys, account_.region, wall());
  if (!key) return refuse("", 403, key.error().error, key.error().message);
  const IotUser& user =
      **std::find_if(users_.begin(), users_.end(), [&](const auto& one) { return &one->key == *key; });

  Ask ask{.now = now, .wall = wall()};
  const Route* route = route_of(request, ask.labels);
  if (!route) return refuse("", 404, "UnknownOperationException", "");
  for (std::string_view pair : split(request.query(), '&')) {
    auto equals = pair.find('=');
    if (!pair.empty())
      ask.query[percent_decoded(pair.substr(0, equals))] =
          equals == std::string_view::npos ? std::string{} : percent_decoded(pair.substr(equals + 1));
  }
  for (const HttpHeader& header : request.headers) ask.headers[lower(header.name)] = header.value;
  ask.body = request.body.empty() ? json::object() : json::parse(request.body, nullptr, false);
  std::string operation{route->operation};
  if (!ask.body.is_object()) return refuse(operation, 400, "InvalidRequestException", "The body is no JSON object");
  if (auto denied = refusal_of(*route, user, ask, ask.labels)) {
    ++calls_[operation].errors[denied->error];
    return reply_of(*denied);
  }
  CallCount& count = calls_[operation];
  ++count.received;
  if (!faults_.take(operation, now))
    return refuse(operation, replies_ % 2 == 0 ? 429 : 400, "ThrottlingException", "Rate exceeded");
  Outcome outcome = route->act(account_, ask);
  if (outcome.error.empty())
    ++count.effective;
  else
    ++count.errors[outcome.error];
  return reply_of(outcome);
}

IotDelivery Iot::deliver(const CloudRequest& request) {
  std::vector<std::string> labels;
  const Route* route = route_of(request, labels);
  std::string operation{route ? route->operation : ""};
  IotDelivery out{.mishap = faults_.next(operation, clock_.now()), .reply = {}};
  switch (out.mishap) {
    case Mishap::refuse:
    case Mishap::cut_before:
      break;
    case Mishap::cut_after:
      (void)answer(request);
      break;
    case Mishap::error:
      out.reply = refuse(operation, 500, "InternalFailureException", "An unexpected error has occurred");
      break;
    case Mishap::error_after:
      (void)answer(request);
      out.reply = refuse(operation, 500, "InternalFailureException", "An unexpected error has occurred");
      break;
    case Mishap::unavailable:
      out.reply = refuse(operation, 503, "ServiceUnavailableException", "The service is temporarily unavailable");
      break;
    case Mishap::throttle:
      out.reply = refuse(operation, replies_ % 2 == 0 ? 429 : 400, "ThrottlingException", "Rate exceeded");
      break;
    case Mishap::garbage:
      out.reply = answer(request);
      out.reply->body = out.reply->body.substr(0, out.reply->body.size() / 2) + "\x01\xff";
      break;
    case Mishap::portal:
      out.reply = HttpReply{200,
                            {{"Content-Type", "text/html"}, {"Date", http_date(wall())}},
                            "<!DOCTYPE html><html><body>Please sign in to use this network</body></html>"};
      break;
    case Mishap::twice:
      (void)answer(request);
      out.reply = answer(request);
      break;
    case Mishap::late:
    case Mishap::none:
      out.reply = answer(request);
      break;
  }
  return out;
}

bool Iot::allowed(const std::string& certificate_id, const std::string& client_id, std::string_view action,
                  std::string_view topic) {
  account_.settle(clock_.now());
  auto certificate = account_.certificates.find(certificate_id);
  if (certificate == account_.certificates.end() || certificate->second.status != "ACTIVE") return false;
  auto thing = account_.things.find(client_id);
  bool is_attached = thing != account_.things.end() && thing->second.certificates.contains(certificate_id);
  auto variables = [&](std::string_view name) -> std::optional<std::string> {
    if (name == "iot:ClientId") return client_id;
    if (name == "iot:Connection.Thing.IsAttached") return is_attached ? "true" : "false";
    if (name == "iot:Certificate.Subject.CommonName") {
      auto read = iot::read_certificate(certificate->second.der);
      return read && !read->common_name.empty() ? std::optional{read->common_name} : std::nullopt;
    }
    if (!is_attached) return std::nullopt;
    if (name == "iot:Connection.Thing.ThingName") return client_id;
    if (name == "iot:Connection.Thing.ThingTypeName" && !thing->second.type.empty()) return thing->second.type;
    constexpr std::string_view attributes = "iot:Connection.Thing.Attributes[";
    if (name.starts_with(attributes) && name.ends_with(']')) {
      auto value = thing->second.attributes.find(
          std::string{name.substr(attributes.size(), name.size() - attributes.size() - 1)});
      if (value != thing->second.attributes.end()) return value->second;
    }
    return std::nullopt;
  };
  iot::PolicyStatements statements;
  auto add = [&](const std::set<std::string>& names) {
    for (const std::string& name : names) {
      const iot::Policy& policy = account_.policies[name];
      auto more = iot::parse_policy_document(policy.versions.at(policy.default_version).document, iot::PolicyKind::iot);
      if (more) statements.insert(statements.end(), more->begin(), more->end());
    }
  };
  add(certificate->second.policies);
  if (is_attached)
    for (const std::string& group : thing->second.groups) add(account_.groups[group].policies);
  bool connects = action == "iot:Connect";
  std::string resource = connects ? account_.arn("client", client_id)
                                  : account_.arn(action == "iot:Subscribe" ? "topicfilter" : "topic", topic);
  return iot::judge(statements, action, resource, variables) == iot::Verdict::allowed;
}

json Iot::state() {
  account_.settle(clock_.now());
  json out{{"v", 1}, {"region", account_.region}, {"account", account_.number}};
  out["things"] = json::object();
  for (const auto& [name, thing] : account_.things) {
    json row{{"id", thing.id},
             {"type", thing.type},
             {"attributes", thing.attributes},
             {"version", thing.version},
             {"groups", thing.groups}};
    row["certificates"] = json::array();
    for (const auto& [id, attachment] : thing.certificates) row["certificates"].push_back(id);
    out["things"][name] = std::move(row);
  }
  out["certificates"] = json::object();
  for (const auto& [id, certificate] : account_.certificates)
    out["certificates"][id] = {{"status", certificate.status},
                               {"policies", certificate.policies},
                               {"things", certificate.things},
                               {"mode", certificate.mode},
                               {"created", to_string(certificate.created)}};
  out["policies"] = json::object();
  for (const auto& [name, policy] : account_.policies) {
    json versions = json::object();
    for (const auto& [number, version] : policy.versions) versions[std::to_string(number)] = version.document;
    out["policies"][name] = {{"default", std::to_string(policy.default_version)},
                             {"versions", std::move(versions)},
                             {"targets", policy.targets}};
  }
  out["types"] = json::object();
  for (const auto& [name, type] : account_.types) out["types"][name] = {{"deprecated", type.deprecated.has_value()}};
  out["groups"] = json::object();
  for (const auto& [name, group] : account_.groups)
    out["groups"][name] = {{"things", group.things}, {"policies", group.policies}};
  out["authorities"] = json::object();
  for (const auto& [id, authority] : account_.authorities)
    out["authorities"][id] = {{"status", authority.status}, {"mode", authority.mode}};
  out["calls"] = json::object();
  for (const auto& [operation, count] : calls_)
    out["calls"][operation] = {{"received", count.received}, {"effective", count.effective}, {"errors", count.errors}};
  return out;
}

}  // namespace espmint::sim
