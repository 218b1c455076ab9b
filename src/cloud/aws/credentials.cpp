#include "cloud/aws/credentials.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/this_coro.hpp>
#include <cctype>
#include <exception>

#include "base/text.hpp"
#include "cloud/aws/credential_json.hpp"
#include "io/event.hpp"

namespace espmint::aws {

Credentials Credentials::duplicate() const {
  return {access_key_id, secret_access_key.duplicate(), session_token.duplicate(), expires, from};
}

namespace {

using namespace std::chrono_literals;

constexpr Duration refreshed_before_end = 15min;
constexpr Duration pause_after_failure = 1min;            // of a refresh that is not urgent yet
constexpr std::chrono::seconds left_for_a_request = 10s;  // keys with less are as good as expired
// A machine that is no machine of a cloud's has nobody there, and its line is waiting.
constexpr Duration metadata_patience = 1s;
constexpr Duration container_patience = 2s;
constexpr std::string_view container_host = "169.254.170.2";

Fault keys_fault(std::string what, std::string seen, std::string advice = {}) {
  return {Code::credentials_missing, Remedy::refuse, std::move(what), {}, std::move(seen), std::move(advice)};
}

bool is_shell_word(std::string_view text) {
  return text.find_first_of(" \t\"'\\$`&|;<>*?#()") == std::string_view::npos;
}

/// What this program leaves to AWS's own: it can ask a person, and does so once for all.
Fault needs_aws_cli(const std::string& profile, std::string_view what) {
  const std::string word = is_shell_word(profile) ? profile : "\"" + profile + "\"";
  return keys_fault(fmt::format("profile {} needs {}, which is left to the AWS CLI", escape_controls(profile), what),
                    "",
                    fmt::format("put this line into a profile of its own in ~/.aws/config and choose that one: "
                                "credential_process = aws configure export-credentials --profile {} --format process",
                                escape_controls(word)));
}

struct Need {
  std::string_view key, what;
};
constexpr std::array needs{
    Need{"role_arn", "another role"},         Need{"web_identity_token_file", "a web identity"},
    Need{"sso_session", "single sign-on"},    Need{"sso_start_url", "single sign-on"},
    Need{"sso_account_id", "single sign-on"},
};

/// A pair of keys where it is whole; nothing where there is none of it. `get`: a field's text by its name.
template <typename Get>
Result<std::optional<Credentials>> take_pair(const Get& get, const KeyNames& names, const std::string& from) {
  const std::optional<std::string> id = get(std::string{names.id}), token = get(std::string{names.token});
  std::optional<std::string> secret = get(std::string{names.secret});
  if (!id && !secret) return std::optional<Credentials>{};
  if (!id || !secret)
    return fail(keys_fault(fmt::format("half of a pair of AWS keys: {} without {}", id ? names.id : names.secret,
                                       id ? names.secret : names.id),
                           "in " + from));
  Credentials keys{*id, Secret{to_bytes(*secret)}, Secret{to_bytes(token.value_or(""))}, {}, from};
  wipe({reinterpret_cast<std::uint8_t*>(secret->data()), secret->size()});
  if (auto fits = check_keys(keys, names); !fits) return fail(keys_fault(fits.error().what, "in " + from));
  return std::optional<Credentials>{std::move(keys)};
}

/// Whether a container's agent may be asked at this address: over TLS anybody, else only who is on this machine or its
/// link. Source: AWS SDKs and Tools Reference Guide, Container credential provider.
bool may_have_token(const WebAddress& address) {
  constexpr std::array links{container_host, std::string_view{"169.254.170.23"}, std::string_view{"fd00:ec2::23"},
                             std::string_view{"localhost"}, std::string_view{"::1"}};
  if (address.scheme == "https") return true;
  const bool loopback =
      address.host.starts_with("127.") && address.host.find_first_not_of("0123456789.") == std::string::npos;
  return loopback || std::ranges::find(links, address.host) != links.end();
}

bool is_role_name(std::string_view text) {
  const auto fits = [](unsigned char c) {
    return std::isalnum(c) != 0 || std::string_view{"_+=,.@-"}.find(static_cast<char>(c)) != std::string_view::npos;
  };
  return !text.empty() && text.size() <= 128 && std::ranges::all_of(text, fits);
}

/// The keys in a reply, which is wiped.
Result<Credentials> take_reply(HttpReply reply, std::string from) {
  auto keys = parse_credentials(reply.body, CredentialForm::metadata);
  wipe({reinterpret_cast<std::uint8_t*>(reply.body.data()), reply.body.size()});
  if (!keys) return fail(keys_fault(keys.error().what, "from " + from));
  keys->from = std::move(from);
  return keys;
}

/// Shared with the coroutine that looks for keys: it may outlive whoever asked, and the source.
class CredentialChain {
 public:
  CredentialChain(Surroundings around, std::string profile, CredentialParts parts)
      : around_(std::move(around)), wanted_profile_(std::move(profile)), parts_(std::move(parts)) {}

  /// One that looks for all who ask: theirs may be broken off, and who has good keys does not wait for better ones.
  static Task<Result<Credentials>> get(std::shared_ptr<CredentialChain> chain) {
    for (;;) {
      if (chain->known_ && !chain->is_due()) co_return chain->known_->duplicate();
      std::shared_ptr<Loading> loading = chain->loading_;
      if (!loading) {
        loading = chain->loading_ = std::make_shared<Loading>();
        const auto executor = co_await boost::asio::this_coro::executor;
        boost::asio::co_spawn(executor, refresh(chain), [](std::exception_ptr thrown) noexcept {
          if (thrown) std::rethrow_exception(std::move(thrown));
        });
      }
      if (chain->known_ && !chain->is_expired()) co_return chain->known_->duplicate();
      co_await loading->done.wait();
      if (loading->fault) co_return fail(*loading->fault);
    }
  }
  void forget() { known_.reset(); }

 private:
  struct Loading {
    Event done;
    std::optional<Fault> fault;
  };

  static Task<> refresh(std::shared_ptr<CredentialChain> chain) {
    Result<Credentials> found = co_await chain->look();
    if (found && chain->is_over(*found)) found = fail(chain->expired(*found));
    if (found) {
      chain->keep(std::move(*found));
    } else {
      chain->refresh_at_ = chain->parts_.clock.now() + pause_after_failure;
      if (chain->known_ && chain->is_expired()) chain->known_.reset();
      if (!chain->known_) chain->loading_->fault = std::move(found.error());
    }
    std::exchange(chain->loading_, nullptr)->done.set();
  }

  // ---- how long keys are good. Their end is a moment of a wall clock; what is left of it is counted by the steady
  // one, so that a clock that is set meanwhile makes no key last longer.

  [[nodiscard]] bool is_over(const Credentials& keys) const {
    return keys.expires && *keys.expires - parts_.clock.wall() <= left_for_a_request;
  }
  [[nodiscard]] bool is_expired() const {
    return is_over(*known_) || (known_->expires && parts_.clock.now() >= expires_at_);
  }
  [[nodiscard]] bool is_due() const { return known_->expires && (parts_.clock.now() >= refresh_at_ || is_expired()); }
  void keep(Credentials keys) {
    known_ = std::move(keys);
    if (!known_->expires) return;
    // An end in the year 9999 does not fit into nanoseconds.
    const Duration left = std::min<std::chrono::seconds>(*known_->expires - parts_.clock.wall(), 24h * 365);
    expires_at_ = parts_.clock.now() + left - left_for_a_request;
    refresh_at_ = parts_.clock.now() + std::max(left - refreshed_before_end, left / 2);
  }
  [[nodiscard]] Fault expired(const Credentials& keys) const {
    return keys_fault(fmt::format("the AWS keys from {} expired at {}", keys.from, to_string(*keys.expires)),
                      fmt::format("this machine's clock says {}", to_string(parts_.clock.wall())),
                      "log in again; or set the clock, if it is wrong");
  }

  // ---- the places

  Task<Result<Credentials>> look() {
    if (wanted_profile_.empty()) {
      CO_TRY(std::optional<Credentials> keys, of_environment());
      if (keys) co_return std::move(*keys);
    }
    CO_TRY(const Profile profile, Profile::find(around_, wanted_profile_));
    const auto process = profile.line("credential_process");
    if (!process) CO_TRY(refuse_needs(profile));
    const bool plain = !needed_by(profile);
    if (plain) {
      CO_TRY(std::optional<Credentials> keys,
             of_file(profile.in_credentials(), profile.described_in(profile.credentials_path())));
      if (keys) co_return std::move(*keys);
    }
    if (process) co_return co_await of_process(*process, profile.name());
    CO_TRY(std::optional<Credentials> keys, of_file(profile.in_config(), profile.described_in(profile.config_path())));
    if (keys) co_return std::move(*keys);
    if (has_container()) co_return co_await of_container();
    std::string why = "switched off by AWS_EC2_METADATA_DISABLED";
    if (lower(variable_of(around_, "AWS_EC2_METADATA_DISABLED").value_or("")) != "true") {
      CO_TRY(std::optional<Credentials> machine_keys, co_await of_machine(why));
      if (machine_keys) co_return std::move(*machine_keys);
    }
    const std::string environment =
        wanted_profile_.empty() ? "the environment" : "the environment (not asked, a profile was named)";
    co_return fail(keys_fault(
        "no AWS keys",
        fmt::format("looked for in {}, {}, {}, its credential_process, no container, this machine's metadata: {}",
                    environment, profile.described_in(profile.credentials_path()), profile.config_path(), why),
        "name a profile, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"));
  }

  [[nodiscard]] Result<std::optional<Credentials>> of_environment() const {
    const auto get = [&](const std::string& name) {
      auto value = variable_of(around_, name);
      // The older name of the same thing.
      return !value && name == "AWS_SESSION_TOKEN" ? variable_of(around_, "AWS_SECURITY_TOKEN") : value;
    };
    const KeyNames names{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"};
    TRY(std::optional<Credentials> keys, take_pair(get, names, "environment"));
    if (!keys && variable_of(around_, "AWS_WEB_IDENTITY_TOKEN_FILE") && variable_of(around_, "AWS_ROLE_ARN"))
      return fail(needs_aws_cli("default", "a web identity (AWS_WEB_IDENTITY_TOKEN_FILE)"));
    if (const auto end = variable_of(around_, "AWS_CREDENTIAL_EXPIRATION"); keys && end) {
      keys->expires = parse_moment(*end);
      if (!keys->expires) return fail(keys_fault("AWS_CREDENTIAL_EXPIRATION is no moment as RFC 3339 writes it", ""));
    }
    return keys;
  }

  static std::optional<std::string_view> needed_by(const Profile& profile) {
    const auto need =
        std::ranges::find_if(needs, [&](const Need& each) { return profile.value(each.key).has_value(); });
    return need == needs.end() ? std::nullopt : std::optional{need->what};
  }
  static Result<void> refuse_needs(const Profile& profile) {
    const auto what = needed_by(profile);
    if (what) return fail(needs_aws_cli(profile.name(), *what));
    return ok();
  }

  static Result<std::optional<Credentials>> of_file(const Ini::Section* section, const std::string& from) {
    const auto get = [&](const std::string& name) {
      const auto value = value_of(section, name);
      return value ? std::optional<std::string>{*value} : std::nullopt;
    };
    return take_pair(get, {"aws_access_key_id", "aws_secret_access_key", "aws_session_token"}, from);
  }

  Task<Result<Credentials>> of_process(std::string line, std::string profile) {
    const std::string from = "credential_process of profile " + profile;
    auto words = split_command_line(line);
    if (!words) co_return fail(keys_fault("the " + from + " cannot be run", words.error().seen));
    Program program{std::move(*words)};
    auto output = co_await parts_.run(std::move(program));
    if (!output) co_return fail(keys_fault("the " + from + " failed", output.error().seen, output.error().advice));
    auto keys = parse_credentials(as_text(output->reveal()), CredentialForm::process);
    if (!keys)
      co_return fail(keys_fault("the " + from + " printed no keys", keys.error().what, "run it by hand and look"));
    keys->from = from;
    co_return keys;
  }

  [[nodiscard]] bool has_container() const {
    return variable_of(around_, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") ||
           variable_of(around_, "AWS_CONTAINER_CREDENTIALS_FULL_URI");
  }

  Task<Result<Credentials>> of_container() {
    HttpRequest request;
    request.timeout = container_patience;
    if (const auto path = variable_of(around_, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")) {
      request.url = fmt::format("http://{}{}{}", container_host, path->starts_with('/') ? "" : "/", *path);
    } else {
      request.url = *variable_of(around_, "AWS_CONTAINER_CREDENTIALS_FULL_URI");
      const auto address = parse_web_address(request.url.substr(0, request.url.find('?')));
      if (!address || !may_have_token(*address))
        co_return fail(keys_fault("AWS_CONTAINER_CREDENTIALS_FULL_URI is no address that may be asked",
                                  "neither https nor this machine or its link"));
    }
    request.headers.push_back({"Accept", "application/json"});
    CO_TRY(std::optional<std::string> token, container_token());
    if (token) request.headers.push_back({"Authorization", std::move(*token)});
    auto reply = co_await parts_.metadata.send(std::move(request));
    if (!reply)
      co_return fail(keys_fault("the container's agent gives no keys", reply.error().what + ": " + reply.error().seen));
    if (reply->status != 200)
      co_return fail(keys_fault("the container's agent gives no keys", fmt::format("status {}", reply->status)));
    co_return take_reply(std::move(*reply), "container");
  }

  [[nodiscard]] Result<std::optional<std::string>> container_token() const {
    std::optional<std::string> token = variable_of(around_, "AWS_CONTAINER_AUTHORIZATION_TOKEN");
    if (const auto path = variable_of(around_, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")) {
      auto bytes = around_.read(*path);
      if (!bytes)
        return fail(
            keys_fault("cannot read AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", *path + ": " + bytes.error().seen));
      token = std::string{trim(as_text(*bytes))};
    }
    if (token && std::ranges::any_of(*token, [](unsigned char c) { return c < 0x20 || c == 0x7f; }))
      return fail(keys_fault("the container's token has control bytes", ""));
    return token;
  }

  /// Nothing, and why, where this is no machine of a cloud's or it has no role.
  Task<Result<std::optional<Credentials>>> of_machine(std::string& why) {
    std::string base = "http://169.254.169.254";
    if (lower(variable_of(around_, "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE").value_or("")) == "ipv6")
      base = "http://[fd00:ec2::254]";
    if (const auto named = variable_of(around_, "AWS_EC2_METADATA_SERVICE_ENDPOINT")) base = *named;
    while (base.ends_with('/')) base.pop_back();

    HttpRequest ask;
    ask.method = "PUT";
    ask.url = base + "/latest/api/token";
    ask.headers.push_back({"X-aws-ec2-metadata-token-ttl-seconds", "21600"});
    ask.timeout = metadata_patience;
    auto token = co_await parts_.metadata.send(std::move(ask));
    why = !token ? token.error().seen : fmt::format("status {}", token->status);
    if (!token || token->status != 200) co_return std::optional<Credentials>{};
    const std::string pass{trim(token->body)};
    // What answers here may be a portal's page: it is no token, and no header.
    if (pass.empty() || pass.size() > 1024 ||
        std::ranges::any_of(pass, [](unsigned char c) { return c <= 0x20 || c >= 0x7f; })) {
      why = "what answers is no metadata service";
      co_return std::optional<Credentials>{};
    }
    const std::string roles = base + "/latest/meta-data/iam/security-credentials/";
    auto list = co_await parts_.metadata.send(metadata_request(roles, pass));
    if (!list)
      co_return fail(keys_fault("this machine's metadata gives no keys", list.error().what + ": " + list.error().seen));
    const std::string role{trim(std::string_view{list->body}.substr(0, list->body.find('\n')))};
    if (list->status != 200 || !is_role_name(role)) {
      why = "it has no role";
      co_return std::optional<Credentials>{};
    }
    auto reply = co_await parts_.metadata.send(metadata_request(roles + role, pass));
    if (!reply)
      co_return fail(
          keys_fault("this machine's metadata gives no keys", reply.error().what + ": " + reply.error().seen));
    if (reply->status != 200)
      co_return fail(keys_fault("this machine's metadata gives no keys", fmt::format("status {}", reply->status)));
    CO_TRY(Credentials keys, take_reply(std::move(*reply), "this machine's role " + role));
    co_return std::optional<Credentials>{std::move(keys)};
  }
  static HttpRequest metadata_request(std::string url, const std::string& token) {
    HttpRequest request;
    request.url = std::move(url);
    request.headers.push_back({"X-aws-ec2-metadata-token", token});
    request.timeout = metadata_patience;
    return request;
  }

  Surroundings around_;
  std::string wanted_profile_;
  CredentialParts parts_;
  std::optional<Credentials> known_;
  Instant expires_at_{}, refresh_at_{};
  std::shared_ptr<Loading> loading_;  // while somebody looks
};

class ChainSource final : public CredentialSource {
 public:
  explicit ChainSource(std::shared_ptr<CredentialChain> chain) : chain_(std::move(chain)) {}
  Task<Result<Credentials>> get() override { return CredentialChain::get(chain_); }
  void forget() override { chain_->forget(); }

 private:
  std::shared_ptr<CredentialChain> chain_;
};

}  // namespace

std::unique_ptr<CredentialSource> make_credential_chain(Surroundings around, std::string profile,
                                                        CredentialParts parts) {
  auto chain = std::make_shared<CredentialChain>(std::move(around), std::move(profile), std::move(parts));
  return std::make_unique<ChainSource>(std::move(chain));
}

}  // namespace espmint::aws
