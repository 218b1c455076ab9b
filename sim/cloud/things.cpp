// Things and what they are attached to. Source: AWS IoT API Reference, CreateThing … ListPrincipalThings.
#include <fmt/format.h>

#include <charconv>

#include "base/text.hpp"
#include "sim/cloud/account.hpp"

namespace espmint::sim::iot {
namespace {

constexpr std::size_t attributes_without_type = 3, attributes_with_type = 50;

Outcome bad_name(std::string_view what, std::string_view name) {
  return invalid_request(
      fmt::format("1 validation error detected: Value '{}' at '{}' failed to satisfy constraint: Member "
                  "must satisfy regular expression pattern: [a-zA-Z0-9:_-]+",
                  name, what));
}
Outcome no_thing(std::string_view name) { return not_found(fmt::format("Thing {} does not exist", name)); }

Outcome bad_page() { return invalid_request("Invalid page size or token"); }

/// Type and attributes of a thing, as they may be.
std::optional<Outcome> refusal_of(const Account& account, const std::string& type, const Attributes& attributes,
                                  bool type_is_new) {
  if (!type.empty()) {
    auto found = account.types.find(type);
    if (found == account.types.end()) return not_found(fmt::format("Thing type {} does not exist", type));
    if (type_is_new && found->second.deprecated)
      return invalid_request(fmt::format("Can not associate thing with deprecated thing type {}", type));
  }
  if (std::string wrong = what_is_wrong_with(attributes); !wrong.empty()) return invalid_request(wrong);
  std::size_t most = type.empty() ? attributes_without_type : attributes_with_type;
  if (attributes.size() > most)
    return invalid_request(fmt::format("A thing {} can have at most {} attributes",
                                       type.empty() ? "without a thing type" : "with a thing type", most));
  return std::nullopt;
}

/// The number a parameter gives; 0 where it is absent, which no version is.
std::optional<std::uint64_t> version_in(std::string_view text) {
  std::uint64_t version = 0;
  if (text.empty()) return version;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), version);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return version;
}

/// The certificate that the header names, or why not.
struct NamedPrincipal {
  std::string id;
  std::optional<Outcome> refusal;
};
NamedPrincipal principal_in(const Account& account, const Ask& ask) {
  std::string arn = ask.header("x-amzn-principal");
  if (arn.empty()) return {{}, invalid_request("Missing required header: x-amzn-principal")};
  auto id = account.certificate_in(arn);
  if (!id) return {{}, invalid_request(fmt::format("Invalid principal: {}", arn))};
  if (!account.certificates.contains(*id)) return {{}, not_found(fmt::format("Principal {} does not exist", arn))};
  return {*id, std::nullopt};
}

json thing_names(const Thing& thing, const Account& account, const std::string& name) {
  return {{"thingName", name}, {"thingArn", account.arn("thing", name)}, {"thingId", thing.id}};
}

}  // namespace

Outcome create_thing(Account& account, const Ask& ask) {
  const std::string& name = ask.labels[0];
  if (!is_thing_name(name)) return bad_name("thingName", name);
  std::string type = ask.text("thingTypeName"), billing = ask.text("billingGroupName");
  json payload = ask.body.value("attributePayload", json());
  auto attributes = attributes_in(payload);
  if (!attributes) return invalid_request("attributePayload is malformed");
  if (payload.is_object() && payload.value("merge", json(false)) == true)
    return invalid_request("merge is only valid when calling UpdateThing or UpdateThingGroup");
  if (ask.body.contains("thingTypeName") && !is_thing_name(type)) return bad_name("thingTypeName", type);
  if (auto refusal = refusal_of(account, type, *attributes, !account.things.contains(name))) return *refusal;
  if (!billing.empty()) return not_found(fmt::format("Billing group {} does not exist", billing));
  if (auto at = account.things.find(name); at != account.things.end()) {
    const Thing& there = at->second;
    if (there.type != type || there.attributes != *attributes)
      return already_exists(fmt::format("Thing {} already exists in account with different attributes", name), name,
                            account.arn("thing", name));
    return answered(thing_names(there, account, name));
  }
  Thing thing;
  thing.id = account.new_uuid();
  thing.type = type;
  thing.attributes = std::move(*attributes);
  json body = thing_names(thing, account, name);
  account.things[name] = std::move(thing);
  return answered(std::move(body));
}

Outcome describe_thing(Account& account, const Ask& ask) {
  const std::string& name = ask.labels[0];
  if (!is_thing_name(name)) return bad_name("thingName", name);
  auto at = account.things.find(name);
  if (at == account.things.end()) return no_thing(name);
  json body = thing_names(at->second, account, name);
  body["defaultClientId"] = name;
  body["attributes"] = at->second.attributes;
  body["version"] = at->second.version;
  if (!at->second.type.empty()) body["thingTypeName"] = at->second.type;
  return answered(std::move(body));
}

Outcome update_thing(Account& account, const Ask& ask) {
  const std::string& name = ask.labels[0];
  if (!is_thing_name(name)) return bad_name("thingName", name);
  auto at = account.things.find(name);
  if (at == account.things.end()) return no_thing(name);
  Thing& thing = at->second;
  if (ask.body.contains("expectedVersion") && ask.body["expectedVersion"] != thing.version)
    return version_conflict(fmt::format("The version {} does not match the latest version {}",
                                        ask.body["expectedVersion"].dump(), thing.version));
  std::string type = ask.text("thingTypeName");
  bool removes_type = ask.body.value("removeThingType", json(false)) == true;
  if (!type.empty() && removes_type) return invalid_request("thingTypeName and removeThingType exclude each other");
  Attributes attributes = thing.attributes;
  if (json payload = ask.body.value("attributePayload", json()); !payload.is_null()) {
    auto given = attributes_in(payload);
    if (!given) return invalid_request("attributePayload is malformed");
    if (payload.value("merge", json(false)) != true) attributes.clear();
    for (const auto& [key, value] : *given) {
      if (value.empty())
        attributes.erase(key);
      else
        attributes[key] = value;
    }
  }
  std::string type_after = removes_type ? "" : type.empty() ? thing.type : type;
  if (auto refusal = refusal_of(account, type_after, attributes, type_after != thing.type)) return *refusal;
  thing.type = type_after;
  thing.attributes = std::move(attributes);
  ++thing.version;
  return answered();
}

Outcome delete_thing(Account& account, const Ask& ask) {
  const std::string& name = ask.labels[0];
  if (!is_thing_name(name)) return bad_name("thingName", name);
  auto at = account.things.find(name);
  if (at == account.things.end()) return answered();
  auto version = version_in(ask.asked("expectedVersion"));
  if (!version) return invalid_request("expectedVersion is no number");
  if (*version != 0 && *version != at->second.version)
    return version_conflict(fmt::format("The version {} does not match the latest version", *version));
  if (!at->second.certificates.empty())
    return invalid_request(fmt::format("Cannot delete. Thing {} is still attached to one or more principals", name));
  for (const std::string& group : at->second.groups) account.groups[group].things.erase(name);
  account.things.erase(at);
  return answered();
}

Outcome list_things(Account& account, const Ask& ask) {
  std::string attribute = ask.asked("attributeName"), value = ask.asked("attributeValue");
  std::string type = ask.asked("thingTypeName");
  bool by_prefix = ask.is_true("usePrefixAttributeValue");
  if (attribute.empty() != value.empty()) return invalid_request("attributeName and attributeValue belong together");
  std::vector<std::string_view> names;
  for (const auto& [name, thing] : account.things) {
    if (!type.empty() && thing.type != type) continue;
    if (!attribute.empty()) {
      auto at = thing.attributes.find(attribute);
      if (at == thing.attributes.end()) continue;
      if (by_prefix ? !at->second.starts_with(value) : at->second != value) continue;
    }
    names.push_back(name);
  }
  auto page = page_of(names, ask, by_token);
  if (!page) return bad_page();
  json body{{"things", json::array()}};
  for (const std::string& name : page->keys) {
    const Thing& thing = account.things[name];
    json row{{"thingName", name},
             {"thingArn", account.arn("thing", name)},
             {"attributes", thing.attributes},
             {"version", thing.version}};
    if (!thing.type.empty()) row["thingTypeName"] = thing.type;
    body["things"].push_back(std::move(row));
  }
  if (!page->next.empty()) body["nextToken"] = page->next;
  return answered(std::move(body));
}

Outcome attach_thing_principal(Account& account, const Ask& ask) {
  const std::string& name = ask.labels[0];
  if (!is_thing_name(name)) return bad_name("thingName", name);
  auto principal = principal_in(account, ask);
  if (principal.refusal) return *principal.refusal;
  auto at = account.things.find(name);
  if (at == account.things.end()) return no_thing(name);
  std::string kind = ask.asked("thingPrincipalType");
  if (!kind.empty() && kind != "EXCLUSIVE_THING" && kind != "NON_EXCLUSIVE_THING")
    return invalid_request(fmt::format("Invalid thingPrincipalType: {}", kind));
  bool exclusive = kind == "EXCLUSIVE_THING";
  std::set<std::string>& things = account.certificates[principal.id].things;
  for (const std::string& other : things)
    if (other != name && (exclusive || account.things[other].certificates[principal.id].exclusive))
      return invalid_request(fmt::format("The principal is attached to thing {} already", other));
  at->second.certificates[principal.id] = {exclusive, std::nullopt};
  things.insert(name);
  return answered();
}

Outcome detach_thing_principal(Account& account, const Ask& ask) {
  const std::string& name = ask.labels[0];
  if (!is_thing_name(name)) return bad_name("thingName", name);
  auto principal = principal_in(account, ask);
  if (principal.refusal) return *principal.refusal;
  auto at = account.things.find(name);
  if (at == account.things.end()) return no_thing(name);
  auto attachment = at->second.certificates.find(principal.id);
  if (attachment != at->second.certificates.end() && !attachment->second.gone_at) {
    attachment->second.gone_at = ask.now + account.delays.detach;
    account.detaching.push_back({name, principal.id, *attachment->second.gone_at});
  }
  return answered();
}

Outcome list_thing_principals(Account& account, const Ask& ask) {
  const std::string& name = ask.labels[0];
  if (!is_thing_name(name)) return bad_name("thingName", name);
  auto at = account.things.find(name);
  if (at == account.things.end()) return no_thing(name);
  std::vector<std::string_view> ids;
  for (const auto& [id, attachment] : at->second.certificates) ids.push_back(id);
  auto page = page_of(ids, ask, by_token);
  if (!page) return bad_page();
  json body{{"principals", json::array()}};
  for (const std::string& id : page->keys) body["principals"].push_back(account.arn("cert", id));
  if (!page->next.empty()) body["nextToken"] = page->next;
  return answered(std::move(body));
}

Outcome list_principal_things(Account& account, const Ask& ask) {
  auto principal = principal_in(account, ask);
  if (principal.refusal) return *principal.refusal;
  const std::set<std::string>& things = account.certificates[principal.id].things;
  auto page = page_of({things.begin(), things.end()}, ask, by_token);
  if (!page) return bad_page();
  json body{{"things", page->keys}};
  if (!page->next.empty()) body["nextToken"] = page->next;
  return answered(std::move(body));
}

}  // namespace espmint::sim::iot
