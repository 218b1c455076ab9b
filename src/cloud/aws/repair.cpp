#include "cloud/aws/repair.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace espmint::aws {
namespace {

constexpr std::chrono::seconds first_detach_pause{1};
constexpr std::chrono::seconds longest_detach_pause{8};

Task<Result<Reply<>>> call_for(Iot& iot, Repair repair) {
  const std::string id = certificate_id_of(repair.arn);
  switch (repair.step) {
    case Repair::Step::activate: {
      std::string status{status::active};
      co_return co_await iot.update_certificate(id, std::move(status));
    }
    case Repair::Step::deactivate: {
      std::string status{status::inactive};
      co_return co_await iot.update_certificate(id, std::move(status));
    }
    case Repair::Step::attach_thing:
      co_return co_await iot.attach_thing_principal(repair.name, repair.arn);
    case Repair::Step::detach_thing:
      co_return co_await iot.detach_thing_principal(repair.name, repair.arn);
    case Repair::Step::attach_policy:
      co_return co_await iot.attach_policy(repair.name, repair.arn);
    case Repair::Step::detach_policy:
      co_return co_await iot.detach_policy(repair.name, repair.arn);
    case Repair::Step::delete_certificate:
      co_return co_await iot.delete_certificate(id);
    case Repair::Step::delete_thing:
      co_return co_await iot.delete_thing(repair.name);
  }
  co_return fail({Code::internal, Remedy::refuse, "no such repair"});
}

bool deletes(const Repair& repair) {
  return repair.step == Repair::Step::delete_certificate || repair.step == Repair::Step::delete_thing;
}

bool gives(const Repair& repair) {
  return repair.step == Repair::Step::activate || repair.step == Repair::Step::attach_thing ||
         repair.step == Repair::Step::attach_policy;
}

/// Detaching is asynchronous: what was detached still stands in the way of deleting, for seconds.
Task<Result<void>> carry_out_one(Iot& iot, Clock& clock, Repair repair) {
  const Instant until = clock.now() + detach_patience;
  std::chrono::seconds pause = first_detach_pause;
  for (;;) {
    CO_TRY(Reply<> reply, co_await call_for(iot, repair));
    if (!reply.refusal || (reply.refusal == Refusal::absent && !gives(repair))) co_return ok();
    if (reply.refusal != Refusal::conflict || !deletes(repair)) co_return fail(refused(reply.operation, reply.words));
    if (clock.now() + pause > until) {
      Fault fault =
          refused(reply.operation, reply.words, "Something may have been attached to it meanwhile; try again");
      fault.remedy = Remedy::retry;
      co_return fail(std::move(fault));
    }
    co_await clock.sleep_for(pause);
    pause = std::min(2 * pause, longest_detach_pause);
  }
}

}  // namespace

std::string words_of(const Repair& repair) {
  const std::string id = certificate_id_of(repair.arn);
  switch (repair.step) {
    case Repair::Step::activate:
      return fmt::format("UpdateCertificate certificateId={} newStatus=ACTIVE", id);
    case Repair::Step::deactivate:
      return fmt::format("UpdateCertificate certificateId={} newStatus=INACTIVE", id);
    case Repair::Step::attach_thing:
      return fmt::format("AttachThingPrincipal thingName={} principal={}", repair.name, repair.arn);
    case Repair::Step::detach_thing:
      return fmt::format("DetachThingPrincipal thingName={} principal={}", repair.name, repair.arn);
    case Repair::Step::attach_policy:
      return fmt::format("AttachPolicy policyName={} target={}", repair.name, repair.arn);
    case Repair::Step::detach_policy:
      return fmt::format("DetachPolicy policyName={} target={}", repair.name, repair.arn);
    case Repair::Step::delete_certificate:
      return fmt::format("DeleteCertificate certificateId={}", id);
    case Repair::Step::delete_thing:
      return fmt::format("DeleteThing thingName={}", repair.name);
  }
  return {};
}

Task<Result<void>> carry_out(Iot& iot, Clock& clock, std::vector<Repair> repairs) {
  for (const Repair& repair : repairs) CO_TRY(co_await carry_out_one(iot, clock, repair));
  co_return ok();
}

Task<Result<std::vector<Repair>>> plan_revocation(Iot& iot, RevocationRequest request) {
  const std::string& thing = request.thing;
  std::vector<std::string>& certificates = request.certificates;
  CO_TRY(Reply<Thing> there, co_await iot.describe_thing(thing));
  if (there.refusal && there.refusal != Refusal::absent) co_return fail(refused(there.operation, there.words));
  if (!there.refusal && !request.force) {
    auto mark = there.value.attributes.find(std::string{mark_attribute});
    if (mark == there.value.attributes.end() || mark->second != mark_of(request.product)) {
      Fault fault{Code::thing_foreign, Remedy::refuse, "the thing of this name is not this product's"};
      fault.where.board = thing;
      fault.seen = mark == there.value.attributes.end()
                       ? "it does not have our mark"
                       : fmt::format("{} = \"{}\"", mark_attribute, escape_controls(mark->second));
      fault.advice = "--force takes back what it has all the same; nothing was changed";
      co_return fail(std::move(fault));
    }
  }
  CO_TRY(Reply<std::vector<std::string>> principals, co_await iot.principals_of(thing));
  if (principals.refusal && principals.refusal != Refusal::absent)
    co_return fail(refused(principals.operation, principals.words));
  std::copy_if(principals.value.begin(), principals.value.end(), std::back_inserter(certificates), is_certificate_arn);
  std::sort(certificates.begin(), certificates.end());
  certificates.erase(std::unique(certificates.begin(), certificates.end()), certificates.end());

  std::vector<Repair> repairs;
  for (const std::string& arn : certificates) {
    CO_TRY(Reply<std::vector<std::string>> things, co_await iot.things_of(arn));
    CO_TRY(Reply<std::vector<std::string>> policies, co_await iot.policies_of(arn));
    if (things.refusal == Refusal::absent || policies.refusal == Refusal::absent) continue;
    if (things.refusal) co_return fail(refused(things.operation, things.words));
    if (policies.refusal) co_return fail(refused(policies.operation, policies.words));
    auto other =
        std::find_if(things.value.begin(), things.value.end(), [&](const auto& name) { return name != thing; });
    if (other != things.value.end() && !request.force) {
      Fault fault{Code::cloud_refused, Remedy::refuse, "a certificate of this thing is another thing's, too"};
      fault.seen = fmt::format("{} is also {}'s", arn, *other);
      fault.advice = "--force takes it from all of them; nothing was changed";
      co_return fail(std::move(fault));
    }
    repairs.push_back({Repair::Step::deactivate, arn, {}});
    for (const std::string& name : things.value) repairs.push_back({Repair::Step::detach_thing, arn, name});
    for (const std::string& name : policies.value) repairs.push_back({Repair::Step::detach_policy, arn, name});
  }
  co_return repairs;
}

}  // namespace espmint::aws
