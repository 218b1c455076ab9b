// An account as a file: for rehearsals that go on tomorrow. What was about to go when it was saved is gone.
#include <algorithm>
#include <cstdlib>

#include "base/base64.hpp"
#include "sim/cloud/account.hpp"

namespace espmint::sim::iot {
namespace {

constexpr int saved_version = 1;

json seconds_of(WallTime at) { return at.time_since_epoch().count(); }
WallTime wall_in(const json& row, const char* member) {
  auto at = row.find(member);
  return WallTime{std::chrono::seconds{at != row.end() && at->is_number_integer() ? at->get<std::int64_t>() : 0}};
}
std::string text_of(const json& row, const char* member) {
  auto at = row.find(member);
  return at != row.end() && at->is_string() ? at->get<std::string>() : std::string{};
}
std::uint64_t number_of(const json& row, const char* member) {
  auto at = row.find(member);
  return at != row.end() && at->is_number_unsigned() ? at->get<std::uint64_t>() : 0;
}
std::set<std::string> names_of(const json& row, const char* member) {
  std::set<std::string> out;
  auto at = row.find(member);
  if (at == row.end() || !at->is_array()) return out;
  for (const json& one : *at)
    if (one.is_string()) out.insert(one.get<std::string>());
  return out;
}
Attributes attributes_of(const json& row) { return attributes_in(row).value_or(Attributes{}); }
std::optional<ReadCertificate> certificate_of(const json& row) {
  auto der = from_base64(text_of(row, "der"));
  return der ? read_certificate(*der) : std::nullopt;
}
json child(const json& saved, const char* member) {
  auto at = saved.find(member);
  return at != saved.end() && at->is_object() ? *at : json::object();
}

}  // namespace

json saved_account(const Account& account) {
  json out{{"v", saved_version}, {"next_order", account.next_order}};
  for (const char* part : {"types", "groups", "things", "certificates", "authorities", "policies"})
    out[part] = json::object();
  for (const auto& [name, type] : account.types) {
    json row{{"id", type.id}, {"description", type.description}, {"searchable", type.searchable}};
    row["created"] = seconds_of(type.created);
    if (type.deprecated) row["deprecated"] = seconds_of(*type.deprecated);
    out["types"][name] = std::move(row);
  }
  for (const auto& [name, group] : account.groups)
    out["groups"][name] = {{"id", group.id},
                           {"parent", group.parent},
                           {"description", group.description},
                           {"attributes", group.attributes},
                           {"version", group.version},
                           {"created", seconds_of(group.created)},
                           {"things", group.things},
                           {"policies", group.policies}};
  for (const auto& [name, thing] : account.things) {
    json row{{"id", thing.id}, {"type", thing.type}, {"attributes", thing.attributes}};
    row["version"] = thing.version;
    row["groups"] = thing.groups;
    row["certificates"] = json::object();
    for (const auto& [id, attachment] : thing.certificates)
      if (!attachment.gone_at) row["certificates"][id] = attachment.exclusive;
    out["things"][name] = std::move(row);
  }
  for (const auto& [id, row] : account.certificates)
    out["certificates"][id] = {{"der", to_base64(row.der)},
                               {"status", row.status},
                               {"mode", row.mode},
                               {"authority", row.authority},
                               {"created", seconds_of(row.created)},
                               {"modified", seconds_of(row.modified)},
                               {"version", row.version},
                               {"order", row.order},
                               {"policies", row.policies}};
  for (const auto& [id, row] : account.authorities)
    out["authorities"][id] = {{"der", to_base64(row.der)},
                              {"status", row.status},
                              {"mode", row.mode},
                              {"automatic", row.auto_registration},
                              {"configuration", row.configuration},
                              {"created", seconds_of(row.created)},
                              {"order", row.order}};
  for (const auto& [name, policy] : account.policies) {
    json versions = json::object();
    for (const auto& [number, version] : policy.versions)
      versions[order_key(number)] = {{"document", version.document}, {"created", seconds_of(version.created)}};
    out["policies"][name] = {{"versions", std::move(versions)},
                             {"default", policy.default_version},
                             {"last", policy.last_version},
                             {"generation", policy.generation},
                             {"created", seconds_of(policy.created)},
                             {"modified", seconds_of(policy.modified)},
                             {"order", policy.order},
                             {"targets", policy.targets}};
  }
  return out;
}

bool restore_account(Account& account, const json& saved) {
  if (!saved.is_object() || saved.value("v", json()) != saved_version) return false;
  account.next_order = std::max<std::uint64_t>(number_of(saved, "next_order"), 1);
  const json types = child(saved, "types");
  for (const auto& [name, row] : types.items()) {
    ThingType& type = account.types[name];
    type.id = text_of(row, "id");
    type.description = text_of(row, "description");
    for (const std::string& one : names_of(row, "searchable")) type.searchable.push_back(one);
    type.created = wall_in(row, "created");
    if (row.contains("deprecated")) type.deprecated = wall_in(row, "deprecated");
  }
  const json groups = child(saved, "groups");
  for (const auto& [name, row] : groups.items()) {
    ThingGroup& group = account.groups[name];
    group.id = text_of(row, "id");
    group.parent = text_of(row, "parent");
    group.description = text_of(row, "description");
    group.attributes = attributes_of(row);
    group.version = number_of(row, "version");
    group.created = wall_in(row, "created");
    group.things = names_of(row, "things");
    group.policies = names_of(row, "policies");
  }
  const json certificates = child(saved, "certificates");
  for (const auto& [id, row] : certificates.items()) {
    auto read = certificate_of(row);
    if (!read || read->id != id) return false;
    DeviceCertificate& certificate = account.certificates[id];
    certificate.der = read->der;
    certificate.status = text_of(row, "status");
    certificate.mode = text_of(row, "mode");
    certificate.authority = text_of(row, "authority");
    certificate.created = wall_in(row, "created");
    certificate.modified = wall_in(row, "modified");
    certificate.version = static_cast<unsigned>(number_of(row, "version"));
    certificate.order = text_of(row, "order");
    certificate.policies = names_of(row, "policies");
    account.certificate_order[certificate.order] = id;
  }
  const json things = child(saved, "things");
  for (const auto& [name, row] : things.items()) {
    Thing& thing = account.things[name];
    thing.id = text_of(row, "id");
    thing.type = text_of(row, "type");
    thing.attributes = attributes_of(row);
    thing.version = number_of(row, "version");
    thing.groups = names_of(row, "groups");
    const json kept_certificates = child(row, "certificates");
    for (const auto& [id, exclusive] : kept_certificates.items()) {
      auto certificate = account.certificates.find(id);
      if (certificate == account.certificates.end()) return false;
      thing.certificates[id] = {exclusive == true, std::nullopt};
      certificate->second.things.insert(name);
    }
  }
  const json authorities = child(saved, "authorities");
  for (const auto& [id, row] : authorities.items()) {
    auto read = certificate_of(row);
    if (!read || read->id != id) return false;
    RegisteredAuthority& authority = account.authorities[id];
    authority.der = read->der;
    authority.status = text_of(row, "status");
    authority.mode = text_of(row, "mode");
    authority.auto_registration = text_of(row, "automatic");
    authority.configuration = row.value("configuration", json());
    authority.created = authority.modified = wall_in(row, "created");
    authority.order = number_of(row, "order");
  }
  const json policies = child(saved, "policies");
  for (const auto& [name, row] : policies.items()) {
    Policy& policy = account.policies[name];
    const json kept_versions = child(row, "versions");
    for (const auto& [number, version] : kept_versions.items())
      policy.versions[static_cast<unsigned>(std::atoi(number.c_str()))] = {text_of(version, "document"),
                                                                           wall_in(version, "created")};
    policy.default_version = static_cast<unsigned>(number_of(row, "default"));
    policy.last_version = static_cast<unsigned>(number_of(row, "last"));
    policy.generation = text_of(row, "generation");
    policy.created = wall_in(row, "created");
    policy.modified = wall_in(row, "modified");
    policy.order = number_of(row, "order");
    policy.targets = names_of(row, "targets");
    if (!policy.versions.contains(policy.default_version)) return false;
  }
  // Names that are drawn from here on are not those of before.
  account.dice = Dice{account.dice.roll() ^ account.next_order};
  return true;
}

}  // namespace espmint::sim::iot
