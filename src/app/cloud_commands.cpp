#include "app/cloud_commands.hpp"

#include <fmt/format.h>

#include <boost/asio/signal_set.hpp>
#include <cstdio>

#include "app/desk_commands.hpp"
#include "app/issuer.hpp"
#include "app/json.hpp"
#include "app/workspace.hpp"
#include "base/text.hpp"
#include "cloud/aws/policy.hpp"
#include "cloud/aws/repair.hpp"
#include "cloud/aws/setup.hpp"
#include "cloud/aws/survey.hpp"
#include "io/file.hpp"
#include "recipe/plan_cloud.hpp"
#include "run/backlog.hpp"
#include "run/ledger_view.hpp"

namespace espmint::app {
namespace {

namespace fs = std::filesystem;

void say(const Voice& voice, const std::string& text) {
  if (!voice.json && !voice.quiet) std::fputs((escape_controls(text) + "\n").c_str(), stdout);
}

/// Somebody waits for it.
constexpr unsigned tries_at_desk = 4;

/// A signed way to the cloud, and a loop to go it on.
struct CloudDesk {
  RealLoop loop;
  std::unique_ptr<Entropy> entropy = make_system_entropy();
  std::unique_ptr<AwsAccess> access;
  static Result<std::unique_ptr<CloudDesk>> open(const CloudCommand& command, const CloudTarget& target) {
    auto desk = std::make_unique<CloudDesk>();
    TRY(desk->access, AwsAccess::open(target.aws, command.cloud, desk->loop, *desk->entropy));
    desk->access->client().set_tries(tries_at_desk);
    return desk;
  }
  /// Runs one task of the cloud's to its end.
  template <typename T>
  Result<T> run(Task<Result<T>> task) {
    std::optional<Result<T>> out;
    loop.run([](Task<Result<T>> work, std::optional<Result<T>>& into) -> Task<> {
      into.emplace(co_await std::move(work));
    }(std::move(task), out));
    return std::move(*out);
  }
};

Result<std::unique_ptr<Ledger>> open_ledger_to_write(const CloudCommand& command, const std::string& product,
                                                     const std::string& what, const Clock& clock) {
  return Ledger::open(product_folder(command.settings, product),
                      {LedgerOptions::Mode::write, product_key(product), holder_note(what)}, clock);
}

/// The recipe that was named or lies here, where it says aws.
Result<std::optional<CloudTarget>> target_in_recipe(const CloudCommand& command) {
  std::error_code ignored;
  fs::path file = command.recipe.empty() ? fs::path{"recipe.toml"} : fs::path{command.recipe};
  if (fs::is_directory(file, ignored)) file /= "recipe.toml";
  if (command.recipe.empty() && !fs::exists(file, ignored)) return std::optional<CloudTarget>{};
  TRY(Bytes text, read_file(file, 1024 * 1024));
  TRY(Recipe recipe, parse_recipe(as_text(text), file.string()));
  if (recipe.issuer != "aws") return std::optional<CloudTarget>{};
  Plan plan;
  plan.product = recipe.product;
  if (plan.product.empty()) {
    RealFolder folder{file.parent_path()};
    TRY(FirmwareSet set, find_firmware(folder, recipe.firmware_path, {}));
    plan.product = product_name_of(set.project);
  }
  RealFolder beside{file.parent_path()};
  PlanOptions options;
  options.folder = &beside;
  TRY(plan_cloud(recipe, options, plan));
  return std::optional{CloudTarget{plan.product, *plan.aws}};
}

Result<std::string> policy_document(const AwsPlan& plan, const std::string& region) {
  if (!plan.policy_text.empty()) return plan.policy_text;
  aws::PolicyScope scope;
  scope.topic_prefix = plan.topic_prefix;
  // Any region and account, but the partition is the region's.
  if (region.starts_with("cn-")) scope.partition = "aws-cn";
  if (region.starts_with("us-gov-")) scope.partition = "aws-us-gov";
  return aws::build_policy(scope);
}

// ---------------------------------------------------------------------------------------------------- setup

Result<Exit> set_up(const CloudCommand& command) {
  TRY(CloudTarget target, cloud_target(command));
  TRY(auto desk, CloudDesk::open(command, target));
  aws::SetupRequest request;
  request.policy_name = target.aws.policy_name;
  TRY(request.policy_document, policy_document(target.aws, desk->access->settings().region));
  request.any_policy = command.cloud.i_know;
  request.thing_type = target.aws.thing_type;
  request.groups = target.aws.groups;
  request.dry_run = command.dry_run;
  aws::Iot iot{desk->access->client()};
  TRY(std::vector<std::string> calls, desk->run(aws::set_up(iot, std::move(request))));
  if (!command.dry_run) {
    target.aws.region = desk->access->settings().region;
    auto before = cloud_of(command.settings, target.product);
    if (before && *before) target.endpoint = (*before)->endpoint;
    TRY(make_folder(command.settings.state, true));
    TRY(remember_cloud(command.settings, target));
  }
  if (command.voice.json) {
    print_json({{"v", 1},
                {"event", "setup"},
                {"product", target.product},
                {"policy", target.aws.policy_name},
                {"thing_type", target.aws.thing_type},
                {"calls", calls},
                {"dry_run", command.dry_run}});
    return Exit::good;
  }
  for (const std::string& call : calls) say(command.voice, (command.dry_run ? "would call " : "") + call);
  if (calls.empty())
    say(command.voice,
        fmt::format("nothing to do: policy {} and its surroundings are as the recipe says", target.aws.policy_name));
  return Exit::good;
}

// ---------------------------------------------------------------------------------------------------- sync

Result<Exit> sync(const CloudCommand& command) {
  TRY(CloudTarget target, cloud_target(command));
  auto pool = make_thread_pool(1);
  TRY(auto desk, CloudDesk::open(command, target));
  TRY(auto ledger, open_ledger_to_write(command, target.product, "cloud sync", desk->loop));
  aws::AwsCloud cloud{desk->access->client(), nullptr, aws_options(target.aws, target.product)};
  Backlog backlog{desk->loop, *desk->entropy, cloud, *ledger, *pool, {}, [&command](const std::string& text) {
                    say(command.voice, text);
                  }};
  TRY(std::size_t before, ledger->boards_to_tell());
  if (command.dry_run) {
    TRY(auto open, ledger->open_intents());
    if (open.empty() && !command.voice.json) say(command.voice, "nothing to tell");
    for (const OpenIntent& intent : open) {
      if (command.voice.json)
        print_json({{"v", 1},
                    {"event", "intent"},
                    {"id", intent.attempt.device_id},
                    {"act", intent.act},
                    {"since", intent.since}});
      else
        say(command.voice, fmt::format("{}  {:<9} since {}", intent.attempt.device_id, intent.act, intent.since));
    }
    return Exit::good;
  }
  std::size_t left = 0;
  std::optional<Fault> why;
  desk->loop.spawn(backlog.work());
  desk->loop.run([](Backlog& queue, const Clock& clock, std::size_t& out, std::optional<Fault>& fault) -> Task<> {
    out = co_await queue.settle_until(clock.now() + std::chrono::hours{24});
    fault = queue.trouble();
    co_await queue.finish();
  }(backlog, desk->loop, left, why));
  if (command.voice.json)
    print_json({{"v", 1}, {"event", "sync"}, {"product", target.product}, {"boards", before}, {"left", left}});
  else
    say(command.voice, fmt::format("boards to be told of: {}, left: {}", before, left));
  if (why) {
    const Exit exit = report(*why, command.voice);
    return exit == Exit::board_failed ? Exit::cloud : exit;
  }
  return left == 0 ? Exit::good : Exit::cloud;
}

// ---------------------------------------------------------------------------------------------------- revoke

bool has_identity(KeyState state) {
  return state == KeyState::exposed || state == KeyState::written || state == KeyState::verified;
}

/// The cloud was told of all that the ledger wanted to tell of these certificates, and more.
Result<void> settle_revocation(Ledger& ledger, const std::string& device) {
  TRY(auto open, ledger.open_intents());
  for (const OpenIntent& one : open)
    if (one.attempt.device_id == device && one.act == act::revoke) TRY(ledger.settle(one.attempt, one.act, "done"));
  return ok();
}

Result<Exit> revoke(const CloudCommand& command) {
  TRY(CloudTarget target, cloud_target(command));
  TRY(auto desk, CloudDesk::open(command, target));
  TRY(auto ledger, command.dry_run ? open_ledger_to_read(command.settings, target.product, desk->loop)
                                   : open_ledger_to_write(command, target.product, "device revoke", desk->loop));
  TRY(auto device, ledger->device(command.device));
  std::string thing = device && !device->id.empty() ? device->id : command.device;
  if (!device && !command.force)
    return fail({Code::usage,
                 Remedy::refuse,
                 fmt::format("no device \"{}\" is in the ledger", command.device),
                 {},
                 {},
                 "`espmint device list` shows all; --force asks the cloud for a thing of this name all the same"});
  TRY(auto known, ledger->certificates());
  std::vector<std::string> arns;
  for (const KnownCertificate& one : known)
    if (one.attempt.device_id == thing && !one.cloud_id.empty()) arns.push_back(one.cloud_id);
  aws::Iot iot{desk->access->client()};
  TRY(std::vector<aws::Repair> repairs,
      desk->run(aws::plan_revocation(iot, {thing, target.product, std::move(arns), command.force})));
  std::vector<std::string> calls;
  for (const aws::Repair& repair : repairs) calls.push_back(aws::words_of(repair));
  if (!command.dry_run) {
    // First here: what the cloud may have heard and this machine forgot would be activated again.
    if (device && has_identity(device->state)) TRY(ledger->revoke(thing, "by hand"));
    TRY(desk->run(aws::carry_out(iot, desk->loop, std::move(repairs))));
    TRY(settle_revocation(*ledger, thing));
  }
  if (command.voice.json) {
    print_json({{"v", 1}, {"event", "revoked"}, {"id", thing}, {"calls", calls}, {"dry_run", command.dry_run}});
    return Exit::good;
  }
  for (const std::string& call : calls) say(command.voice, (command.dry_run ? "would call " : "") + call);
  if (calls.empty())
    say(command.voice, fmt::format("{} has no certificate at the cloud", thing));
  else if (!command.dry_run)
    say(command.voice,
        fmt::format("{} is no longer accepted; `espmint prepare` gives the board a new identity, a line holds it",
                    thing));
  return Exit::good;
}

CloudDifference words_of(const aws::Finding& finding) {
  CloudDifference out{std::string{name_of(finding.difference)},
                      finding.device_id,
                      finding.what,
                      {},
                      finding.may_fix,
                      finding.is_harmless};
  for (const aws::Repair& repair : finding.repairs) out.repairs.push_back(aws::words_of(repair));
  return out;
}

/// What came of a question whose answer was lost is known once the account was looked through: then it is closed.
constexpr auto lost_for_good = std::chrono::minutes{15};

Result<void> close_lost(Ledger& ledger, const aws::CloudView& there, WallTime now) {
  TRY(auto lost, ledger.unanswered_issues());
  const std::string old_enough = to_string(now - lost_for_good);
  for (const UnansweredIssue& issue : lost) {
    if (!issue.public_key_sha256 || issue.since > old_enough) continue;
    const bool is_there = std::ranges::any_of(there.certificates, [&](const aws::SurveyedCertificate& one) {
      return one.public_key &&
             (one.public_key == issue.public_key_sha256 || one.common_name == issue.attempt.device_id);
    });
    if (!is_there) TRY(ledger.settle(issue.attempt, act::issue, "nothing of it is at the cloud"));
  }
  return ok();
}

}  // namespace

Result<CloudTarget> cloud_target(const CloudCommand& command) {
  if (command.product.empty()) {
    TRY(auto in_recipe, target_in_recipe(command));
    if (in_recipe) return std::move(*in_recipe);
  }
  TRY(std::string product, choose_product(command.settings, command.product));
  TRY(auto remembered, cloud_of(command.settings, product));
  if (remembered) return std::move(*remembered);
  return fail({Code::usage,
               Remedy::refuse,
               fmt::format("the boards of {} are registered nowhere but here", product),
               {},
               {},
               "Name a recipe with issuer = \"aws\""});
}

Result<CloudComparison> compare_with_cloud(const CloudCommand& command, const CloudTarget& target) {
  TRY(auto desk, CloudDesk::open(command, target));
  const bool fix = command.fix && !command.dry_run;
  TRY(auto ledger, fix ? open_ledger_to_write(command, target.product, "doctor --fix", desk->loop)
                       : open_ledger_to_read(command.settings, target.product, desk->loop));
  TRY(aws::LedgerView here, ledger_view(*ledger));
  aws::SurveyOptions options{product_key(target.product), target.aws.policy_name};
  aws::Iot iot{desk->access->client()};
  TRY(aws::CloudView there, desk->run(aws::read_cloud(iot, here, options)));
  // Whose clock is wrong is known once a call was refused for it.
  options.clock_offset = desk->access->client().clock_offset();
  if (options.clock_offset.count() != 0) {
    TRY(there, desk->run(aws::read_cloud(iot, here, options)));
  }
  std::vector<aws::Finding> findings = aws::compare(here, there, options);
  CloudComparison out;
  for (const aws::Finding& finding : findings) out.differences.push_back(words_of(finding));
  if (!fix) return out;
  TRY(close_lost(*ledger, there, desk->loop.wall()));
  TRY(aws::FixReport report, desk->run(aws::fix(iot, desk->loop, std::move(findings))));
  out.fixed = report.fixed;
  out.failed = std::move(report.failed);
  return out;
}

Exit cloud_setup(const CloudCommand& command) {
  auto end = set_up(command);
  return end ? *end : report(end.error(), command.voice);
}

Exit cloud_sync(const CloudCommand& command) {
  auto end = sync(command);
  return end ? *end : report(end.error(), command.voice);
}

Exit device_revoke(const CloudCommand& command) {
  auto end = revoke(command);
  return end ? *end : report(end.error(), command.voice);
}

}  // namespace espmint::app
