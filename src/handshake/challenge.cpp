#include "handshake/challenge.hpp"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <algorithm>

#include "base/base64.hpp"
#include "base/text.hpp"

namespace espmint {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view challenge_word = "espmint-challenge ", proof_word = "espmint-proof ", domain = "espmint-v1";
constexpr std::size_t mac_digits = 12;
// An application that is still starting drops what it cannot take yet; a whole line then follows soon.
constexpr Duration challenge_every = 250ms;
// One wrong proof may be a flipped bit on the line, two are an answer.
constexpr int wrong_proofs_that_count = 2;
constexpr std::size_t longest_log = 4096, longest_seen = 120;

bool is_base64(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/' || c == '=';
}

struct KeyFree {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
struct ContextFree {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

bool verify(EVP_PKEY* key, ByteView message, ByteView signature) {
  std::unique_ptr<EVP_MD_CTX, ContextFree> context{EVP_MD_CTX_new()};
  EVP_PKEY_CTX* parameters = nullptr;
  if (!context || EVP_DigestVerifyInit(context.get(), &parameters, EVP_sha256(), nullptr, key) != 1) return false;
  if (EVP_PKEY_is_a(key, "RSA") == 1) {
    if (EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING) != 1 ||
        EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, RSA_PSS_SALTLEN_DIGEST) != 1)
      return false;
  } else if (EVP_PKEY_is_a(key, "EC") != 1) {
    return false;
  }
  return EVP_DigestVerify(context.get(), signature.data(), signature.size(), message.data(), message.size()) == 1;
}

/// A board's words for a screen or a JSON line: whatever is not printable ASCII is shown as \xNN.
std::string printable(std::string_view text, bool keep_newlines) {
  std::string out;
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if ((byte >= 0x20 && byte < 0x7f) || (keep_newlines && c == '\n')) {
      out += c;
    } else if (c != '\r') {
      out += c == '\t' ? std::string{" "} : fmt::format("\\x{:02x}", byte);
    }
  }
  return out;
}

std::string shortened(std::string text) {
  if (text.size() > longest_seen) text = text.substr(0, longest_seen - 3) + "...";
  return text;
}

/// What a board prints, a line at a time, however much it is.
class Listener {
 public:
  /// Takes one byte; true when it ended a line, which is then in line().
  bool hear(std::uint8_t byte) {
    log_ += static_cast<char>(byte);
    if (log_.size() > 2 * longest_log) log_.erase(0, log_.size() - longest_log);
    if (ended_) line_.clear(), too_long_ = false;
    ended_ = byte == '\n' || byte == '\r';
    if (ended_) {
      if (!line_.empty()) last_ = line_;
      return !line_.empty() && !too_long_;
    }
    if (line_.size() < longest_proof_line) {
      line_ += static_cast<char>(byte);
    } else {
      too_long_ = true;
    }
    return false;
  }
  [[nodiscard]] std::string_view line() const { return line_; }
  /// The last line that said anything, whole or not.
  [[nodiscard]] std::string last_words() const {
    return shortened(printable(ended_ || line_.empty() ? last_ : line_, false));
  }
  [[nodiscard]] std::string log() const {
    std::string text = printable(log_, true);
    return text.size() > longest_log ? text.substr(text.size() - longest_log) : text;
  }

 private:
  std::string log_, line_, last_;
  bool ended_ = false, too_long_ = false;
};

std::string why_wrong(const ProofLine& proof, const Mac& mac) {
  if (proof.mac != mac)
    return fmt::format("its proof is for board {}, this is {}", to_string(proof.mac), to_string(mac));
  return "its signature is not by the key of the certificate that this board was given";
}

}  // namespace

std::string challenge_line(const Nonce& nonce) { return fmt::format("{}{}\n", challenge_word, to_hex(nonce)); }

std::optional<ProofLine> parse_proof_line(std::string_view line) {
  if (line.size() > longest_proof_line) return std::nullopt;
  // The last one: bytes before it may be half a proof that another print cut off.
  std::size_t at = line.rfind(proof_word);
  if (at == std::string_view::npos) return std::nullopt;
  line.remove_prefix(at + proof_word.size());
  if (line.size() < mac_digits + 2 || line[mac_digits] != ' ') return std::nullopt;
  std::optional<Mac> mac = parse_mac(line.substr(0, mac_digits));
  line.remove_prefix(mac_digits + 1);
  std::size_t length = 0;
  while (length < line.size() && is_base64(line[length])) ++length;
  std::string_view rest = trim(line.substr(length));
  if (!mac || length == 0 || !(rest.empty() || rest.starts_with("\x1b["))) return std::nullopt;
  std::optional<Bytes> signature = from_base64(line.substr(0, length));
  if (!signature || signature->empty()) return std::nullopt;
  return ProofLine{*mac, std::move(*signature)};
}

Bytes challenge_message(const Mac& mac, const Nonce& nonce) {
  Bytes message = to_bytes(domain);
  append(message, mac.octets);
  append(message, nonce);
  return message;
}

bool proves(const ProofLine& proof, const Mac& mac, const Nonce& nonce, ByteView public_key_der) {
  if (proof.mac != mac) return false;
  const unsigned char* at = public_key_der.data();
  std::unique_ptr<EVP_PKEY, KeyFree> key{d2i_PUBKEY(nullptr, &at, static_cast<long>(public_key_der.size()))};
  bool proved = key && at == public_key_der.data() + public_key_der.size() &&
                verify(key.get(), challenge_message(mac, nonce), proof.signature);
  ERR_clear_error();  // OpenSSL's queue is the thread's: nothing of this may speak up in somebody's TLS later
  return proved;
}

Task<Result<ChallengeOutcome>> challenge(Port& port, Clock& clock, const Mac& mac, const Nonce& nonce,
                                         Bytes public_key_der, Instant deadline) {
  using Kind = ChallengeOutcome::Kind;
  // The newline in front ends whatever half line the firmware's reader holds.
  const std::string question = "\n" + challenge_line(nonce);
  Listener listener;
  ChallengeOutcome outcome;
  int wrong_proofs = 0;
  std::array<std::uint8_t, 256> heard{};
  Instant next_send = clock.now();
  while (clock.now() < deadline && wrong_proofs < wrong_proofs_that_count && outcome.kind != Kind::proved) {
    if (clock.now() >= next_send) {
      next_send = clock.now() + challenge_every;
      // A question begun before the deadline may leave whole: what is late is the board's answer, not the port.
      CO_TRY(co_await port.write(as_bytes(question), deadline + 1s));
    }
    CO_TRY(std::size_t count, co_await port.read_some(heard, std::min(next_send, deadline)));
    for (std::uint8_t byte : ByteView{heard}.first(count)) {
      if (!listener.hear(byte)) continue;
      std::optional<ProofLine> proof = parse_proof_line(listener.line());
      if (!proof) continue;
      if (proves(*proof, mac, nonce, public_key_der)) {
        outcome.kind = Kind::proved;
        continue;
      }
      ++wrong_proofs;
      outcome.seen = why_wrong(*proof, mac);
    }
  }
  if (outcome.kind == Kind::proved) {
    outcome.seen.clear();
  } else if (wrong_proofs > 0) {
    outcome.kind = Kind::wrong;
  } else {
    outcome.seen = listener.last_words();
  }
  outcome.boot_log = listener.log();
  co_return outcome;
}

}  // namespace espmint
