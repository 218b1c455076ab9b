// app/cloud_check.cpp: whether a line would run, before it does: credentials, clock, region, permissions, quotas.
// Permissions are tried by calls that can have no effect: they are about things that cannot be, so whoever may is told
// "not found".
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>

#include "app/cloud_commands.hpp"
#include "app/desk_commands.hpp"
#include "app/issuer.hpp"
#include "app/json.hpp"
#include "app/workspace.hpp"
#include "base/text.hpp"
#include "cloud/aws/pacing.hpp"

namespace espmint::app {
namespace {

using aws::Call;
using aws::encode_label;

struct Finding {
  bool good;
  std::string subject, what, mend;
};

constexpr std::string_view nowhere = "espmint-check-no-such-name";

std::string no_certificate_arn(const aws::Settings& settings) {
  const std::string partition = settings.region.starts_with("cn-")       ? "aws-cn"
                                : settings.region.starts_with("us-gov-") ? "aws-us-gov"
                                                                         : "aws";
  return fmt::format("arn:{}:iot:{}:000000000000:cert/{}", partition, settings.region, std::string(64, '0'));
}

/// One for each action that a line takes.
std::vector<Call> dry_calls(const AwsPlan& plan, const aws::Settings& settings) {
  const std::string thing = "/things/" + std::string{nowhere};
  const std::string arn = no_certificate_arn(settings), certificate = "/certificates/" + std::string(64, '0');
  const std::string target = Json{{"target", arn}}.dump();
  const std::vector<HttpHeader> principal{{"x-amzn-principal", arn}};
  std::vector<Call> calls{
      {"DescribeThing", "GET", thing, {}, {}, {}},
      {"CreateThing", "POST", thing, {}, {}, Json{{"thingTypeName", nowhere}}.dump()},
      {"UpdateThing",
       "PATCH",
       thing,
       {},
       {},
       Json{{"attributePayload", {{"attributes", Json::object()}, {"merge", true}}}}.dump()},
      {"ListThingPrincipals", "GET", thing + "/principals", {}, {}, {}},
      {"AttachThingPrincipal", "PUT", thing + "/principals", {}, principal, {}},
      {"DetachThingPrincipal", "DELETE", thing + "/principals", {}, principal, {}},
      {"ListPrincipalThings", "GET", "/principals/things", {}, principal, {}},
      {"AttachPolicy", "PUT", "/target-policies/" + encode_label(plan.policy_name), {}, {}, target},
      {"DetachPolicy", "POST", "/target-policies/" + encode_label(plan.policy_name), {}, {}, target},
      {"ListAttachedPolicies", "POST", "/attached-policies/" + encode_label(arn), {}, {}, {}},
      {"UpdateCertificate", "PUT", certificate, {{"newStatus", "INACTIVE"}}, {}, {}},
      {"DescribeCertificate", "GET", certificate, {}, {}, {}}};
  // What is no request and no certificate makes none.
  if (plan.issuance == AwsIssuance::csr)
    calls.push_back({"CreateCertificateFromCsr",
                     "POST",
                     "/certificates",
                     {{"setAsActive", "false"}},
                     {},
                     Json{{"certificateSigningRequest", "no request"}}.dump(),
                     false});
  if (plan.issuance == AwsIssuance::own_ca)
    calls.push_back({"RegisterCertificateWithoutCA",
                     "POST",
                     "/certificate/register-no-ca",
                     {},
                     {},
                     Json{{"certificatePem", "no certificate"}, {"status", "INACTIVE"}}.dump(),
                     false});
  if (!plan.groups.empty())
    calls.push_back({"AddThingToThingGroup",
                     "PUT",
                     "/thing-groups/addThingToThingGroup",
                     {},
                     {},
                     Json{{"thingName", nowhere}, {"thingGroupName", nowhere}}.dump()});
  return calls;
}

/// The operation that limits a line, and how many boards a second it allows.
std::pair<std::string_view, double> slowest(const AwsPlan& plan) {
  std::vector<std::string_view> a_board{"AttachPolicy", "CreateThing", "AttachThingPrincipal", "UpdateCertificate",
                                        "ListThingPrincipals"};
  a_board.push_back(plan.issuance == AwsIssuance::own_ca     ? "RegisterCertificateWithoutCA"
                    : plan.issuance == AwsIssuance::aws_keys ? "CreateKeysAndCertificate"
                                                             : "CreateCertificateFromCsr");
  return {*std::ranges::min_element(a_board, {}, aws::default_rate),
          aws::default_rate(*std::ranges::min_element(a_board, {}, aws::default_rate))};
}

class Check {
 public:
  Check(const CloudCommand& command, const CloudTarget& target, AwsAccess& access)
      : command_(command), target_(target), access_(access) {}

  Task<> run(Result<void>& end) { end = co_await all(); }
  [[nodiscard]] bool good() const { return good_; }

 private:
  void tell(const Finding& finding) {
    good_ = good_ && finding.good;
    if (command_.voice.json) {
      print_json({{"v", 1},
                  {"level", finding.good ? "ok" : "wrong"},
                  {"subject", finding.subject},
                  {"what", finding.what},
                  {"mend", finding.mend.empty() ? Json{} : Json(finding.mend)}});
      return;
    }
    if (command_.voice.quiet && finding.good) return;
    const bool colour = wants_colour(stdout_is_terminal());
    std::fputs(
        fmt::format("{} {}: {}{}\n",
                    painted(finding.good ? Colour::green : Colour::red, finding.good ? "ok   " : "WRONG", colour),
                    finding.subject, escape_controls(finding.what), finding.mend.empty() ? "" : ". " + finding.mend)
            .c_str(),
        stdout);
  }

  Task<Result<void>> all() {
    const aws::Settings& settings = access_.settings();
    tell({true, "region", fmt::format("{} ({})", settings.region, settings.region_from), {}});
    tell({true, "endpoint", fmt::format("{} ({})", settings.endpoint, settings.endpoint_from), {}});
    CO_TRY(aws::Credentials keys, co_await access_.credentials().get());
    tell({true,
          "credentials",
          fmt::format("{} from {}{}", keys.access_key_id, keys.from,
                      keys.expires ? ", valid to " + to_string(*keys.expires) : ""),
          {}});
    aws::AwsCloud cloud{access_.client(), nullptr, options()};
    auto started = co_await cloud.start();
    if (!started && started.error().code != Code::cloud_refused) co_return started;
    if (started)
      tell({true,
            "product",
            fmt::format("policy {}{} are there{}; boards connect to {}", target_.aws.policy_name,
                        target_.aws.thing_type.empty() ? "" : " and thing type " + target_.aws.thing_type,
                        command_.cloud.i_know ? "" : " and safe", cloud.endpoint()),
            {}});
    else
      tell({false, "product", started.error().what + (started.error().seen.empty() ? "" : ": " + started.error().seen),
            started.error().advice});
    CO_TRY(co_await try_permissions());
    const auto offset = access_.client().clock_offset();
    tell({true,
          "clock",
          offset.count() == 0 ? "not far enough from the cloud's to matter"
                              : fmt::format("{} s {} the cloud's; requests are dated by the cloud's",
                                            std::abs(offset.count()), offset.count() > 0 ? "behind" : "ahead of"),
          {}});
    auto [operation, rate] = slowest(target_.aws);
    tell({true,
          "quota",
          fmt::format("{} allows {:g} boards a second in an account that did not ask for more", operation, rate),
          {}});
    const bool asks_nothing = target_.aws.issuance == AwsIssuance::bulk || target_.aws.issuance == AwsIssuance::jitp;
    if (asks_nothing) {
      tell({true,
            "line",
            fmt::format("no call a board, issuance {}: `espmint cloud export` writes what AWS is to be given",
                        name_of(target_.aws.issuance)),
            {}});
      co_return ok();
    }
    tell(
        {true,
         "line",
         fmt::format("{} calls a new board, issuance {}; certificates become ACTIVE when a board is VERIFIED; up to {} "
                     "boards may wait for the cloud",
                     6 + target_.aws.groups.size(), name_of(target_.aws.issuance), target_.aws.backlog),
         {}});
    co_return ok();
  }

  Task<Result<void>> try_permissions() {
    std::string lacking, taken;
    bool all_known = true;
    for (Call& call : dry_calls(target_.aws, access_.settings())) {
      const std::string operation = call.operation;
      const bool makes_certificates = !call.repeatable;
      auto answer = co_await access_.client().call(std::move(call));
      if (answer && answer->good() && makes_certificates) taken = operation;
      if (answer) continue;
      const Fault& fault = answer.error();
      if (fault.code == Code::cloud_unreachable && fault.remedy == Remedy::reconcile) {  // of the others it may tell
        all_known = false;
        tell({false, "service", fault.what + ": " + fault.seen, fault.advice});
        continue;
      }
      if (fault.code != Code::cloud_denied) co_return fail(std::move(answer.error()));
      lacking += (lacking.empty() ? "iot:" : ", iot:") + operation;
    }
    if (!taken.empty())
      tell({false, "service",
            taken + " took nonsense, and may have made a certificate of it: what answers is not AWS IoT",
            "Look at the endpoint, and at the account's certificates"});
    if (lacking.empty() && all_known)
      tell({true, "permissions", "every action that a line takes is allowed", {}});
    else if (!lacking.empty())
      tell({false, "permissions", "not allowed: " + lacking, "Give these keys the policy `station` of docs/aws.md"});
    co_return ok();
  }

  [[nodiscard]] aws::AwsOptions options() const {
    aws::AwsOptions out = aws_options(target_.aws, target_.product);
    out.any_policy = command_.cloud.i_know;
    out.issuance = aws::Issuance::csr;  // what is there is the same for all; no CA is needed to look
    return out;
  }

  const CloudCommand& command_;
  const CloudTarget& target_;
  AwsAccess& access_;
  bool good_ = true;
};

Result<Exit> check(const CloudCommand& command) {
  TRY(CloudTarget target, cloud_target(command));
  RealLoop loop;
  auto entropy = make_system_entropy();
  TRY(auto access, AwsAccess::open(target.aws, command.cloud, loop, *entropy));
  access->client().set_tries(3);
  Check checking{command, target, *access};
  Result<void> end;
  loop.run(checking.run(end));
  TRY(std::move(end));
  return checking.good() ? Exit::good : Exit::cloud;
}

}  // namespace

Exit cloud_check(const CloudCommand& command) {
  auto end = check(command);
  return end ? *end : report(end.error(), command.voice);
}

}  // namespace espmint::app
