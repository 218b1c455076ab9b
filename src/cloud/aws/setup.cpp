#include "cloud/aws/setup.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "cloud/aws/policy.hpp"

namespace espmint::aws {
namespace {

using Calls = std::vector<std::string>;

/// Makes room for one more version, where there is none.
Task<Result<void>> drop_oldest_version(Iot& iot, SetupRequest request, Calls& calls) {
  CO_TRY(std::vector<PolicyVersion> versions, granted(co_await iot.list_policy_versions(request.policy_name)));
  if (versions.size() < most_policy_versions) co_return ok();
  std::erase_if(versions, [](const PolicyVersion& version) { return version.is_default; });
  auto oldest = std::min_element(versions.begin(), versions.end(),
                                 [](const auto& a, const auto& b) { return a.number < b.number; });
  if (oldest == versions.end()) co_return ok();
  calls.push_back(
      fmt::format("DeletePolicyVersion policyName={} policyVersionId={}", request.policy_name, oldest->number));
  if (request.dry_run) co_return ok();
  CO_TRY(Reply<> deleted, co_await iot.delete_policy_version(request.policy_name, oldest->number));
  if (deleted.refusal && deleted.refusal != Refusal::absent) co_return fail(refused(deleted.operation, deleted.words));
  co_return ok();
}

Task<Result<void>> replace_policy(Iot& iot, SetupRequest request, Calls& calls) {
  CO_TRY(co_await drop_oldest_version(iot, request, calls));
  calls.push_back(fmt::format("CreatePolicyVersion policyName={} setAsDefault=true", request.policy_name));
  if (request.dry_run) co_return ok();
  CO_TRY(granted(co_await iot.create_policy_version(request.policy_name, request.policy_document)));
  co_return ok();
}

Task<Result<void>> set_up_policy(Iot& iot, SetupRequest request, Calls& calls) {
  CO_TRY(Reply<Policy> there, co_await iot.get_policy(request.policy_name));
  if (there.refusal == Refusal::absent) {
    calls.push_back(fmt::format("CreatePolicy policyName={}", request.policy_name));
    if (request.dry_run) co_return ok();
    CO_TRY(Reply<> made, co_await iot.create_policy(request.policy_name, request.policy_document));
    if (!made.refusal) co_return ok();
    if (made.refusal != Refusal::exists) co_return fail(refused(made.operation, made.words));
    // Ours, by a call whose answer was lost, or somebody else's: what it says decides.
    CO_TRY(there, co_await iot.get_policy(request.policy_name));
  }
  if (there.refusal) co_return fail(refused(there.operation, there.words));
  if (is_same_policy(there.value.document, request.policy_document)) co_return ok();
  co_return co_await replace_policy(iot, request, calls);
}

Task<Result<void>> set_up_thing_type(Iot& iot, SetupRequest request, Calls& calls) {
  CO_TRY(Reply<ThingType> there, co_await iot.describe_thing_type(request.thing_type));
  if (there.refusal && there.refusal != Refusal::absent) co_return fail(refused(there.operation, there.words));
  if (!there.refusal && !there.value.deprecated) co_return ok();
  if (!there.refusal) {
    Fault fault{Code::cloud_refused, Remedy::refuse, "the thing type is deprecated: no thing can have it any more"};
    fault.seen = fmt::format("\"{}\"", request.thing_type);
    fault.advice = "Undo that in the console, or name another in the recipe";
    co_return fail(std::move(fault));
  }
  calls.push_back(fmt::format("CreateThingType thingTypeName={}", request.thing_type));
  if (request.dry_run) co_return ok();
  CO_TRY(Reply<> made, co_await iot.create_thing_type(request.thing_type));
  if (made.refusal && made.refusal != Refusal::exists) co_return fail(refused(made.operation, made.words));
  co_return ok();
}

Task<Result<void>> set_up_groups(Iot& iot, SetupRequest request, Calls& calls) {
  for (const std::string& group : request.groups) {
    CO_TRY(Reply<> there, co_await iot.describe_thing_group(group));
    if (!there.refusal) continue;
    if (there.refusal != Refusal::absent) co_return fail(refused(there.operation, there.words));
    calls.push_back(fmt::format("CreateThingGroup thingGroupName={}", group));
    if (request.dry_run) continue;
    CO_TRY(Reply<> made, co_await iot.create_thing_group(group));
    if (made.refusal && made.refusal != Refusal::exists) co_return fail(refused(made.operation, made.words));
  }
  co_return ok();
}

}  // namespace

Task<Result<Calls>> set_up(Iot& iot, SetupRequest request) {
  CO_TRY(check_policy_name(request.policy_name));
  if (!request.thing_type.empty()) CO_TRY(check_thing_name(request.thing_type, "thing type"));
  for (const std::string& group : request.groups) CO_TRY(check_thing_name(group, "thing group"));
  if (!request.any_policy) CO_TRY(check_policy(request.policy_name, request.policy_document));
  Calls calls;
  CO_TRY(co_await set_up_policy(iot, request, calls));
  if (!request.thing_type.empty()) CO_TRY(co_await set_up_thing_type(iot, request, calls));
  CO_TRY(co_await set_up_groups(iot, request, calls));
  co_return calls;
}

}  // namespace espmint::aws
