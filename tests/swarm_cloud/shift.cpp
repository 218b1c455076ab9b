#include "tests/swarm_cloud/shift.hpp"

#include <fmt/format.h>
#include <time.h>

#include <deque>

#include "identity/local_ca.hpp"
#include "ledger/invariants.hpp"
#include "run/backlog.hpp"
#include "run/enrolment.hpp"
#include "tests/aws_world.hpp"

namespace espmint::swarm_cloud {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr int slots = 8;
constexpr int most_visits = 12;  // of one board, brought back after each failure
constexpr Duration call_takes = 60ms;
const Sha256 plan = sha256_of(as_bytes("the plan"));
constexpr std::string_view product = AwsWorld::product;

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

/// The account's clock: it goes on while processes come and go, each with a loop of its own.
class LastingClock final : public Clock {
 public:
  [[nodiscard]] Instant now() const override { return loop_ ? loop_->now() + passed_ : Instant{} + passed_; }
  [[nodiscard]] WallTime wall() const override {
    return start_ + std::chrono::floor<std::chrono::seconds>(now().time_since_epoch());
  }
  Task<> sleep_until(Instant at) override { return loop_->sleep_until(at - passed_); }
  void follow(VirtualLoop& loop) { loop_ = &loop; }
  void leave() {
    passed_ = now().time_since_epoch() + 1s;  // a process takes its time to start
    loop_ = nullptr;
  }

 private:
  static constexpr WallTime start_{std::chrono::seconds{1'760'000'000}};
  VirtualLoop* loop_ = nullptr;
  Duration passed_{};
};

/// As sim::connect_to, and counts the time that the account itself takes.
class MeasuredLink final : public HttpClient {
 public:
  MeasuredLink(std::unique_ptr<HttpClient> next, sim::Iot& account, Clock& clock, double& account_cpu)
      : next_(std::move(next)), account_(account), clock_(clock), account_cpu_(account_cpu) {}
  bool measures = false;  // then nothing may befall a call
  Task<Result<HttpReply>> send(HttpRequest request) override {
    if (!measures) co_return co_await next_->send(std::move(request));
    co_await clock_.sleep_for(call_takes);
    const std::string base = account_.url();
    sim::CloudRequest wire{std::move(request.method), request.url.substr(base.size()), std::move(request.headers),
                           std::move(request.body)};
    wire.headers.push_back({"Host", base.substr(std::string_view{"https://"}.size())});
    const double before = cpu_seconds();
    sim::IotDelivery delivery = account_.deliver(wire);
    account_cpu_ += cpu_seconds() - before;
    co_return std::move(*delivery.reply);
  }

 private:
  std::unique_ptr<HttpClient> next_;
  sim::Iot& account_;
  Clock& clock_;
  double& account_cpu_;
};

/// What ends with the process. The loop goes first: coroutines that wait in it hold what stands below.
struct Process {
  Process(LastingClock& lasting, sim::Iot& account, const sim::IotUser& user, const fs::path& folder,
          aws::AwsOptions how, Signer* signer, std::uint64_t seed, double rate_factor, double& account_cpu)
      : lasting_clock(lasting),
        loop(std::make_unique<VirtualLoop>(lasting.wall())),
        door(account, *loop, user, call_takes, seed) {
    lasting.follow(*loop);
    ledger = value_of(Ledger::open(folder, {LedgerOptions::Mode::write, std::string{product}, "swarm"}, *loop));
    auto measured = std::make_unique<MeasuredLink>(std::move(door.http), account, *loop, account_cpu);
    link = measured.get();
    door.http = std::move(measured);
    client.emplace(*door.http, door.keys, *loop, door.entropy,
                   aws::ClientSettings{account.region(), *aws::parse_endpoint(account.url()), rate_factor});
    cloud.emplace(*client, signer, std::move(how));
  }
  ~Process() {
    lasting_clock.leave();
    loop.reset();
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  LastingClock& lasting_clock;
  std::unique_ptr<VirtualLoop> loop;
  AwsDoor door;
  MeasuredLink* link = nullptr;
  std::optional<aws::SigningClient> client;
  std::optional<aws::AwsCloud> cloud;
  std::unique_ptr<Pool> pool = make_inline_pool();
  std::unique_ptr<Ledger> ledger;
  std::unique_ptr<Backlog> backlog;
  int at_work = 0;
  Event all_done;
};

/// What a board's flash holds, and what is to become of it.
struct Board {
  int number = 0;
  std::int64_t holds = 0;  // of which attempt it has the identity
  int visits = 0;
  bool renew = false;
};

enum class Fate { verified, unplugged, half_written, written, gone };

class Shift {
 public:
  Shift(const ShiftOptions& options, fs::path folder, Tally& tally)
      : options_(options),
        folder_(std::move(folder)),
        tally_(tally),
        dice_(options.seed * 7919 + 1),
        account_(clock_, {.seed = options.seed}) {}

  std::vector<std::string> run() {
    entropy_ = make_seeded_entropy(options_.seed);
    if (options_.issuance == aws::Issuance::own_ca)
      ca_.emplace(value_of(LocalCa::init(folder_ / "ca", "Swarm CA", clock_.wall())));
    set_up();
    break_calls();
    boards_.resize(static_cast<std::size_t>(options_.boards));
    for (int i = 0; i < options_.boards; ++i) {
      boards_[static_cast<std::size_t>(i)].number = i;
      waiting_.push_back(i);
    }
    const double begun = cpu_seconds();
    const Instant start = clock_.now();
    while (!waiting_.empty()) work();
    tally_.line_seconds += std::chrono::duration<double>(clock_.now() - start).count();
    tally_.line_cpu += cpu_seconds() - begun;
    finish();
    ++tally_.shifts;
    tally_.boards += static_cast<std::uint64_t>(options_.boards);
    tally_.violations += wrongs_.size();
    return std::move(wrongs_);
  }

 private:
  bool happens(int percent) { return dice_.below(100) < static_cast<std::uint64_t>(percent); }
  Duration some_time(Duration most) {
    return Duration{static_cast<std::int64_t>(dice_.below(static_cast<std::uint64_t>(most.count())))};
  }

  aws::AwsOptions how() const {
    aws::AwsOptions out;
    out.issuance = options_.issuance;
    out.policy_name = AwsWorld::policy;
    out.thing_type = AwsWorld::thing_type;
    out.product = product;
    out.root_ca_pem = "none";
    out.endpoint = "nowhere";
    return out;
  }
  /// Then nothing limits the account, and nothing befalls a call.
  [[nodiscard]] bool measures() const { return options_.faults == 0; }
  std::unique_ptr<Process> new_process(const sim::IotUser& user) {
    auto process = std::make_unique<Process>(clock_, account_, user, folder_ / "ledger", how(), ca_ ? &*ca_ : nullptr,
                                             dice_.roll(), measures() ? 1000 : 1, tally_.account_cpu);
    process->link->measures = measures() && &user == &account_.station();
    return process;
  }

  void set_up() {
    auto admin = new_process(account_.admin());
    aws::Iot iot{*admin->client};
    const aws::SetupRequest shared{std::string{AwsWorld::policy}, value_of(aws::build_policy({std::string{product}})),
                                   false, std::string{AwsWorld::thing_type}};
    value_of(run_task(*admin->loop, aws::set_up(iot, shared)));
  }

  /// Before the call takes effect and after; and what else befalls it.
  void break_calls() {
    struct Row {
      std::string_view mishap;
      double part;
    };
    constexpr std::array rows{Row{"cut-before", .25}, Row{"cut-after", .25},  Row{"refuse", .05},
                              Row{"error", .1},       Row{"error-after", .1}, Row{"unavailable", .05},
                              Row{"throttle", .1},    Row{"late", .05},       Row{"twice", .05}};
    if (options_.faults == 0) return;
    for (const Row& row : rows)
      value_of(account_.faults().add(fmt::format("{}={:.6f}", row.mishap, options_.faults * row.part)));
    if (!options_.mishaps || happens(80)) return;
    const auto from = dice_.below(60);
    value_of(account_.faults().add(fmt::format("outage={}..{}", from, from + 1 + dice_.below(200)), clock_.now()));
  }

  // ---- one process

  void work() {
    auto process = new_process(account_.station());
    Process& p = *process;
    p.backlog = std::make_unique<Backlog>(*p.loop, p.door.entropy, *p.cloud, *p.ledger, *p.pool, BacklogOptions{},
                                          [](const std::string&) {});
    p.loop->spawn(p.backlog->work());
    p.at_work = slots;
    for (int slot = 0; slot < slots; ++slot) p.loop->spawn(serve(p));
    const bool dies = options_.crashes && happens(70);
    if (dies) {
      // At any moment: with calls under way that took effect, or did not.
      p.loop->run(
          [](VirtualLoop& loop, Duration life) -> Task<> { co_await loop.sleep_for(life); }(*p.loop, some_time(15s)));
    } else {
      p.loop->run(last_hour(p));
    }
    count_calls(p);
    if (dies) ++tally_.crashes;
    // What a dead process had in hand comes back later.
    for (int number : std::exchange(in_hand_, {})) bring_again(boards_[static_cast<std::size_t>(number)]);
  }

  static Task<> last_hour(Process& p) {
    co_await p.all_done.wait();
    co_await p.backlog->settle_until(p.loop->now() + 30s);
    co_await p.backlog->finish();
  }

  void count_calls(Process& p) {
    for (const auto& [operation, counts] : p.client->counts()) {
      tally_.sent += counts.sent;
      // Of what is repeated after a failure the first one; of issuances those that a certificate came of (enrol).
      if (operation != "CreateCertificateFromCsr") tally_.needed += counts.sent - counts.retries;
    }
  }

  Task<> serve(Process& p) {
    while (!waiting_.empty()) {
      const int number = waiting_.front();
      waiting_.pop_front();
      in_hand_.insert(number);
      Board& board = boards_[static_cast<std::size_t>(number)];
      ++board.visits;
      auto end = co_await prepare(p, board);
      in_hand_.erase(number);
      if (end) continue;
      const Fault& fault = end.error();
      // The cloud may fail; what the ledger refuses was told twice, or by two.
      if (measures() || exit_of(fault.code) == Exit::ledger)
        wrongs_.push_back(fmt::format("board {}: {}", number, describe(fault)));
      bring_again(board);
      co_await p.loop->sleep_for(1s);
    }
    if (--p.at_work == 0) p.all_done.set();
  }

  void bring_again(Board& board) {
    if (board.visits < most_visits) waiting_.push_back(board.number);
  }

  /// As run/board_run.hpp does it, with a dice for the board.
  Task<Result<void>> prepare(Process& p, Board& board) {
    const Mac mac{{0x24, 0xd7, static_cast<std::uint8_t>(options_.seed), static_cast<std::uint8_t>(board.number >> 16),
                   static_cast<std::uint8_t>(board.number >> 8), static_cast<std::uint8_t>(board.number)}};
    const BoardIdentity who{mac, "esp32", "", 0x164020};
    const std::string id = to_string(mac);
    CO_TRY(Admission admission, p.ledger->admit(who, plan));
    if (admission.kind == Admission::Kind::held) {
      wrongs_.push_back(fmt::format("{} is held: {}", id, admission.why));
      co_return ok();
    }
    if (admission.kind == Admission::Kind::resume) {
      if (board.holds == admission.attempt->number)
        co_return finish_board(p, *admission.attempt, *admission.certificate, admission.state);
      CO_TRY(p.ledger->burn(*admission.attempt, "another identity is on the board"));
      p.backlog->wake();
    }
    const bool verified = admission.kind == Admission::Kind::verified;
    if (verified && !std::exchange(board.renew, false)) co_return ok();

    std::optional<Attempt> attempt;
    auto reserve = [&ledger = *p.ledger, who, id, verified]() -> Task<Result<Attempt>> {
      co_return ledger.reserve(who, id, plan, std::nullopt, verified);
    };
    CO_TRY(attempt, co_await reserve());
    Enrolment::World world{
        *p.cloud, *p.ledger, *p.pool, *p.pool, *p.loop, reserve, [](const std::string&) {}, [] { return false; }};
    Enrolment enrolment{std::move(world)};
    std::optional<CertificateRecord> record;
    Result<void> enrolled = co_await enrol(p, enrolment, attempt, record);
    if (!enrolled) {
      if (attempt) CO_TRY(p.ledger->release(*attempt, enrolled.error().what));
      p.backlog->wake();
      co_return enrolled;
    }
    co_return co_await give(p, board, *attempt, *record);
  }

  Task<Result<void>> enrol(Process& p, Enrolment& enrolment, std::optional<Attempt>& attempt,
                           std::optional<CertificateRecord>& record) {
    CO_TRY(Minted minted, co_await enrolment.mint(KeyKind::ec_p256, attempt));
    const Certificate& certificate = minted.issued.certificate;
    record = CertificateRecord{certificate.sha256,
                               certificate.serial,
                               certificate.der,
                               certificate.public_key_der,
                               md5_of(certificate.der),
                               sha256_of(certificate.der),
                               std::move(minted.issued.cloud_id)};
    CO_TRY(co_await enrolment.record(*attempt, *record));
    ++tally_.enrolments;
    if (p.cloud->ways().issues_elsewhere) ++tally_.needed;
    if (p.cloud->ways().can_wait) p.backlog->wake();
    co_return co_await enrolment.enrol(*attempt, *record);
  }

  Fate draw_fate() {
    if (!options_.mishaps) return Fate::verified;
    const auto roll = dice_.below(100);
    return roll < 6    ? Fate::unplugged
           : roll < 10 ? Fate::half_written
           : roll < 13 ? Fate::written
           : roll < 15 ? Fate::gone
                       : Fate::verified;
  }

  /// The certificate and its key on their way to the board.
  Task<Result<void>> give(Process& p, Board& board, Attempt attempt, CertificateRecord record) {
    const Fate fate = draw_fate();
    co_await p.loop->sleep_for(some_time(500ms));
    if (fate == Fate::unplugged) {
      CO_TRY(p.ledger->release(attempt, "unplugged"));
      p.backlog->wake();
      bring_again(board);
      co_return ok();
    }
    CO_TRY(p.ledger->expose(attempt));
    co_await p.loop->sleep_for(some_time(200ms));
    board.holds = 0;  // being erased
    if (fate == Fate::gone) co_return ok();
    if (fate == Fate::half_written) {
      bring_again(board);
      co_return ok();
    }
    board.holds = attempt.number;
    CO_TRY(p.ledger->mark_written(attempt));
    co_await p.loop->sleep_for(some_time(200ms));
    if (fate == Fate::written) {
      bring_again(board);
      co_return ok();
    }
    CO_TRY(finish_board(p, attempt, record, KeyState::written));
    if (options_.mishaps && board.visits < 3 && happens(12)) {
      board.renew = true;
      bring_again(board);
    }
    co_return ok();
  }

  Result<void> finish_board(Process& p, const Attempt& attempt, const CertificateRecord& record, KeyState state) {
    if (state == KeyState::exposed) TRY(p.ledger->mark_written(attempt));
    TRY(p.ledger->mark_verified(attempt, {"rom-digest", record.image_md5, "after a reset"},
                                p.cloud->ways().completion));
    ++tally_.verified;
    p.backlog->wake();
    return ok();
  }

  // ---- the end

  /// At any time, whatever the doctor may still do.
  void expect_none_accepted_before_it_was_proved() {
    auto process = new_process(account_.station());
    std::set<Sha256> proved;
    for (const KnownCertificate& one : value_of(process->ledger->certificates()))
      if (one.was_verified) proved.insert(one.sha256);
    for (const auto& [id, one] : account_.account().certificates)
      if (one.status == "ACTIVE" && !proved.contains(sha256_of(one.der)))
        wrongs_.push_back(id + " is ACTIVE, and its board was never VERIFIED");
  }

  void finish() {
    expect_none_accepted_before_it_was_proved();
    // The doctor comes while calls still fail, and once more when they do not.
    const double begun = cpu_seconds();
    for (int tries = 0; tries < 2; ++tries) {
      auto admin = new_process(account_.admin());
      (void)doctor(*admin, tally_.fixed);
    }
    value_of(account_.faults().add("none"));
    sync();
    auto admin = new_process(account_.admin());
    auto found = doctor(*admin, tally_.fixed);
    if (!found) wrongs_.push_back("the doctor: " + describe(found.error()));
    admin->loop->run([](VirtualLoop& loop) -> Task<> { co_await loop.sleep_for(10s); }(*admin->loop));
    std::uint64_t nothing = 0;
    auto again = doctor(*admin, nothing);
    if (!again) wrongs_.push_back("the doctor: " + describe(again.error()));
    if (nothing != 0) wrongs_.push_back(fmt::format("the doctor fixed {} differences at the second look", nothing));
    for (std::string& wrong : wrongs_in(account_, *admin->ledger, clock_.now(), AwsWorld::policy))
      wrongs_.push_back(std::move(wrong));
    tally_.doctor_cpu += cpu_seconds() - begun;
    admin.reset();
    for (const std::string& violation : value_of(find_violations(folder_ / "ledger")))
      wrongs_.push_back("ledger: " + violation);
  }

  /// `espmint cloud sync`.
  void sync() {
    auto process = new_process(account_.station());
    Process& p = *process;
    p.backlog = std::make_unique<Backlog>(*p.loop, p.door.entropy, *p.cloud, *p.ledger, *p.pool, BacklogOptions{},
                                          [](const std::string&) {});
    p.loop->spawn(p.backlog->work());
    const std::size_t left = run_task(*p.loop, p.backlog->settle_until(p.loop->now() + 1h));
    p.loop->run(p.backlog->finish());
    count_calls(p);
    if (left != 0) wrongs_.push_back(fmt::format("{} boards are left to be told of", left));
  }

  Result<std::size_t> doctor(Process& p, std::uint64_t& fixed) {
    aws::Iot iot{*p.client};
    TRY(const aws::LedgerView known, ledger_view(*p.ledger));
    const aws::SurveyOptions options{std::string{product}, std::string{AwsWorld::policy}};
    TRY(const aws::CloudView there, run_task(*p.loop, aws::read_cloud(iot, known, options)));
    const std::vector<aws::Finding> findings = aws::compare(known, there, options);
    tally_.found += findings.size();
    TRY(aws::FixReport report, run_task(*p.loop, aws::fix(iot, *p.loop, findings)));
    fixed += static_cast<std::uint64_t>(report.fixed);
    if (!report.failed.empty()) return fail(report.failed.front());
    return findings.size();
  }

  ShiftOptions options_;
  fs::path folder_;
  Tally& tally_;
  sim::Dice dice_;
  LastingClock clock_;
  std::unique_ptr<Entropy> entropy_;
  std::optional<LocalCa> ca_;
  sim::Iot account_;
  std::vector<Board> boards_;
  std::deque<int> waiting_;
  std::set<int> in_hand_;
  std::vector<std::string> wrongs_;
};

}  // namespace

void Tally::add(const Tally& other) {
  shifts += other.shifts, boards += other.boards, enrolments += other.enrolments, verified += other.verified,
      crashes += other.crashes;
  needed += other.needed, sent += other.sent, found += other.found, fixed += other.fixed,
      violations += other.violations;
  line_cpu += other.line_cpu, account_cpu += other.account_cpu, doctor_cpu += other.doctor_cpu,
      line_seconds += other.line_seconds;
}

std::vector<std::string> run_shift(const ShiftOptions& options, const fs::path& folder, Tally& tally) {
  return Shift{options, folder, tally}.run();
}

}  // namespace espmint::swarm_cloud
