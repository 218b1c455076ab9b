// Thing types and static thing groups. Source: AWS IoT API Reference, CreateThingType … ListThingsInThingGroup.
#include <fmt/format.h>

#include "sim/cloud/account.hpp"

namespace espmint::sim::iot {
namespace {

constexpr std::size_t most_searchable = 3, most_groups_of_a_thing = 10, longest_description = 2028;

Outcome bad_registry_name(std::string_view name) { return invalid_request(fmt::format("Invalid name: {}", name)); }
Outcome no_type(std::string_view name) { return not_found(fmt::format("Thing type {} does not exist", name)); }
Outcome no_group(std::string_view name) { return not_found(fmt::format("Thing group {} does not exist", name)); }
Outcome bad_list_page() { return invalid_request("Invalid page size or token"); }

json type_names(const Account& account, const std::string& name, const ThingType& type) {
  return {{"thingTypeName", name}, {"thingTypeArn", account.arn("thingtype", name)}, {"thingTypeId", type.id}};
}
json type_details(const ThingType& type) {
  json properties{{"thingTypeDescription", type.description}, {"searchableAttributes", type.searchable}};
  json metadata{{"deprecated", type.deprecated.has_value()}, {"creationDate", moment(type.created)}};
  if (type.deprecated) metadata["deprecationDate"] = moment(*type.deprecated);
  return {{"thingTypeProperties", std::move(properties)}, {"thingTypeMetadata", std::move(metadata)}};
}

json group_names(const Account& account, const std::string& name, const ThingGroup& group) {
  return {{"thingGroupName", name}, {"thingGroupArn", account.arn("thinggroup", name)}, {"thingGroupId", group.id}};
}
json groups_page(const Account& account, const Page& page) {
  json body{{"thingGroups", json::array()}};
  for (const std::string& name : page.keys)
    body["thingGroups"].push_back({{"groupName", name}, {"groupArn", account.arn("thinggroup", name)}});
  if (!page.next.empty()) body["nextToken"] = page.next;
  return body;
}

/// A name that is given as such or in an ARN.
std::string named_in(const Account& account, const Ask& ask, std::string_view name_member, std::string_view arn_member,
                     std::string_view kind) {
  if (std::string name = ask.text(name_member); !name.empty()) return name;
  std::string arn = ask.text(arn_member), start = account.arn(kind, "");
  return arn.starts_with(start) ? arn.substr(start.size()) : std::string{};
}

struct Membership {
  std::string thing, group;
  std::optional<Outcome> refusal;
};
Membership membership_in(const Account& account, const Ask& ask) {
  std::string thing = named_in(account, ask, "thingName", "thingArn", "thing");
  std::string group = named_in(account, ask, "thingGroupName", "thingGroupArn", "thinggroup");
  if (!is_thing_name(thing)) return {{}, {}, bad_registry_name(thing)};
  if (!is_thing_name(group)) return {{}, {}, bad_registry_name(group)};
  if (!account.things.contains(thing)) return {{}, {}, not_found(fmt::format("Thing {} does not exist", thing))};
  if (!account.groups.contains(group)) return {{}, {}, no_group(group)};
  return {thing, group, std::nullopt};
}

}  // namespace

Outcome create_thing_type(Account& account, const Ask& ask) {
  const std::string& name = ask.labels[0];
  if (!is_thing_name(name)) return bad_registry_name(name);
  ThingType type;
  if (json properties = ask.body.value("thingTypeProperties", json()); properties.is_object()) {
    if (auto text = properties.find("thingTypeDescription"); text != properties.end() && text->is_string())
      type.description = *text;
    for (const json& one : properties.value("searchableAttributes", json::array()))
      if (one.is_string()) type.searchable.push_back(one);
  }
  if (type.searchable.size() > most_searchable)
    return invalid_request(fmt::format("A thing type has at most {} searchable attributes", most_searchable));
  if (type.description.size() > longest_description) return invalid_request("thingTypeDescription is too long");
  if (auto at = account.types.find(name); at != account.types.end()) {
    if (at->second.description != type.description || at->second.searchable != type.searchable)
      return already_exists(fmt::format("Thing type {} already exists in account with different properties", name),
                            name, account.arn("thingtype", name));
    return answered(type_names(account, name, at->second));
  }
  type.id = account.new_uuid();
  type.created = ask.wall;
  json body = type_names(account, name, type);
  account.types[name] = std::move(type);
  return answered(std::move(body));
}

Outcome describe_thing_type(Account& account, const Ask& ask) {
  auto at = account.types.find(ask.labels[0]);
  if (at == account.types.end()) return no_type(ask.labels[0]);
  json body = type_names(account, at->first, at->second);
  body.update(type_details(at->second));
  return answered(std::move(body));
}

Outcome list_thing_types(Account& account, const Ask& ask) {
  std::vector<std::string_view> names;
  for (const auto& [name, type] : account.types)
    if (ask.asked("thingTypeName").empty() || ask.asked("thingTypeName") == name) names.push_back(name);
  auto page = page_of(names, ask, by_token);
  if (!page) return bad_list_page();
  json body{{"thingTypes", json::array()}};
  for (const std::string& name : page->keys) {
    json row{{"thingTypeName", name}, {"thingTypeArn", account.arn("thingtype", name)}};
    row.update(type_details(account.types[name]));
    body["thingTypes"].push_back(std::move(row));
  }
  if (!page->next.empty()) body["nextToken"] = page->next;
  return answered(std::move(body));
}

Outcome deprecate_thing_type(Account& account, const Ask& ask) {
  auto at = account.types.find(ask.labels[0]);
  if (at == account.types.end()) return no_type(ask.labels[0]);
  if (ask.body.value("undoDeprecate", json(false)) == true) {
    at->second.deprecated.reset();
  } else if (!at->second.deprecated) {
    at->second.deprecated = ask.wall;
    at->second.deprecated_at = ask.now;
  }
  return answered();
}

Outcome delete_thing_type(Account& account, const Ask& ask) {
  const std::string& name = ask.labels[0];
  auto at = account.types.find(name);
  if (at == account.types.end()) return no_type(name);
  if (!at->second.deprecated)
    return invalid_request(fmt::format("Cannot delete thing type {} : it is not deprecated", name));
  if (ask.now < at->second.deprecated_at + account.delays.type_release)
    return invalid_request(
        fmt::format("Please wait for 5 minutes after deprecation and then retry. Thing type: {}", name));
  for (const auto& [thing_name, thing] : account.things)
    if (thing.type == name)
      return invalid_request(fmt::format("Cannot delete thing type {} : things are associated with it", name));
  account.types.erase(at);
  return answered();
}

Outcome create_thing_group(Account& account, const Ask& ask) {
  const std::string& name = ask.labels[0];
  if (!is_thing_name(name)) return bad_registry_name(name);
  ThingGroup group;
  group.parent = ask.text("parentGroupName");
  if (!group.parent.empty() && !account.groups.contains(group.parent)) return no_group(group.parent);
  if (json properties = ask.body.value("thingGroupProperties", json()); properties.is_object()) {
    if (auto text = properties.find("thingGroupDescription"); text != properties.end() && text->is_string())
      group.description = *text;
    auto attributes = attributes_in(properties.value("attributePayload", json()));
    if (!attributes) return invalid_request("attributePayload is malformed");
    group.attributes = std::move(*attributes);
  }
  if (std::string wrong = what_is_wrong_with(group.attributes); !wrong.empty()) return invalid_request(wrong);
  if (auto at = account.groups.find(name); at != account.groups.end()) {
    const ThingGroup& there = at->second;
    if (there.parent != group.parent || there.description != group.description || there.attributes != group.attributes)
      return already_exists(fmt::format("Thing group {} already exists in account with different properties", name),
                            name, account.arn("thinggroup", name));
    return answered(group_names(account, name, there));
  }
  group.id = account.new_uuid();
  group.created = ask.wall;
  json body = group_names(account, name, group);
  account.groups[name] = std::move(group);
  return answered(std::move(body));
}

Outcome describe_thing_group(Account& account, const Ask& ask) {
  auto at = account.groups.find(ask.labels[0]);
  if (at == account.groups.end()) return no_group(ask.labels[0]);
  const ThingGroup& group = at->second;
  json body = group_names(account, at->first, group);
  json metadata{{"creationDate", moment(group.created)}};
  if (!group.parent.empty()) metadata["parentGroupName"] = group.parent;
  json payload{{"attributes", group.attributes}};
  body["version"] = group.version;
  body["thingGroupMetadata"] = std::move(metadata);
  body["thingGroupProperties"] = {{"thingGroupDescription", group.description}};
  body["thingGroupProperties"]["attributePayload"] = std::move(payload);
  return answered(std::move(body));
}

Outcome list_thing_groups(Account& account, const Ask& ask) {
  std::vector<std::string_view> names;
  for (const auto& [name, group] : account.groups) {
    if (!ask.asked("parentGroup").empty() && group.parent != ask.asked("parentGroup")) continue;
    if (name.starts_with(ask.asked("namePrefixFilter"))) names.push_back(name);
  }
  auto page = page_of(names, ask, by_token);
  if (!page) return bad_list_page();
  return answered(groups_page(account, *page));
}

Outcome delete_thing_group(Account& account, const Ask& ask) {
  auto at = account.groups.find(ask.labels[0]);
  if (at == account.groups.end()) return answered();
  std::string version = ask.asked("expectedVersion");
  if (!version.empty() && version != std::to_string(at->second.version))
    return version_conflict(fmt::format("The version {} does not match the latest version", version));
  for (const auto& [name, group] : account.groups)
    if (group.parent == at->first)
      return invalid_request(fmt::format("Cannot delete thing group {} : it has child groups", at->first));
  for (const std::string& thing : at->second.things) account.things[thing].groups.erase(at->first);
  for (const std::string& policy : at->second.policies)
    account.policies[policy].targets.erase(account.arn("thinggroup", at->first));
  account.groups.erase(at);
  return answered();
}

Outcome add_thing_to_thing_group(Account& account, const Ask& ask) {
  Membership member = membership_in(account, ask);
  if (member.refusal) return *member.refusal;
  std::set<std::string>& groups = account.things[member.thing].groups;
  if (!groups.contains(member.group) && groups.size() >= most_groups_of_a_thing)
    return invalid_request(fmt::format("A thing can be in at most {} groups", most_groups_of_a_thing));
  groups.insert(member.group);
  account.groups[member.group].things.insert(member.thing);
  return answered();
}

Outcome remove_thing_from_thing_group(Account& account, const Ask& ask) {
  Membership member = membership_in(account, ask);
  if (member.refusal) return *member.refusal;
  account.things[member.thing].groups.erase(member.group);
  account.groups[member.group].things.erase(member.thing);
  return answered();
}

Outcome list_thing_groups_for_thing(Account& account, const Ask& ask) {
  auto at = account.things.find(ask.labels[0]);
  if (at == account.things.end()) return not_found(fmt::format("Thing {} does not exist", ask.labels[0]));
  auto page = page_of({at->second.groups.begin(), at->second.groups.end()}, ask, by_token);
  if (!page) return bad_list_page();
  return answered(groups_page(account, *page));
}

Outcome list_things_in_thing_group(Account& account, const Ask& ask) {
  auto at = account.groups.find(ask.labels[0]);
  if (at == account.groups.end()) return no_group(ask.labels[0]);
  auto page = page_of({at->second.things.begin(), at->second.things.end()}, ask, by_token);
  if (!page) return bad_list_page();
  json body{{"things", page->keys}};
  if (!page->next.empty()) body["nextToken"] = page->next;
  return answered(std::move(body));
}

}  // namespace espmint::sim::iot
