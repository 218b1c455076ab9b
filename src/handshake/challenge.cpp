#include "handshake/challenge.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <array>

#include "base/base64.hpp"
#include "base/text.hpp"

namespace espmint {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view domain = "espmint-v1";
constexpr std::string_view proof_word = "espmint-proof ";
constexpr std::size_t longest_line = 1024;  // an RSA-2048 proof takes 375
constexpr std::size_t boot_log_limit = 4096;
constexpr auto repeat_after = 250ms;

}  // namespace

std::string challenge_line(const Nonce& nonce) { return "espmint-challenge " + to_hex(nonce) + "\n"; }

std::optional<ProofLine> parse_proof_line(std::string_view line) {
  line = trim(line);
  if (!line.starts_with(proof_word) || line.size() > longest_line) return std::nullopt;
  line.remove_prefix(proof_word.size());
  auto space = line.find(' ');
  if (space == std::string_view::npos) return std::nullopt;
  auto mac = parse_mac(line.substr(0, space));
  auto signature = from_base64(line.substr(space + 1));
  if (!mac || !signature || signature->empty()) return std::nullopt;
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
  std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key{d2i_PUBKEY(nullptr, &at, static_cast<long>(public_key_der.size())),
                                                          &EVP_PKEY_free};
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context{EVP_MD_CTX_new(), &EVP_MD_CTX_free};
  EVP_PKEY_CTX* parameters = nullptr;
  if (!key || !context || EVP_DigestVerifyInit(context.get(), &parameters, EVP_sha256(), nullptr, key.get()) != 1) return false;
  if (EVP_PKEY_is_a(key.get(), "RSA") == 1 && (EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING) != 1 ||
                                               EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, 32) != 1))
    return false;
  Bytes message = challenge_message(mac, nonce);
  return EVP_DigestVerify(context.get(), proof.signature.data(), proof.signature.size(), message.data(), message.size()) == 1;
}

Task<Result<ChallengeOutcome>> challenge(Port& port, Clock& clock, const Mac& mac, const Nonce& nonce, Bytes public_key_der,
                                         Instant deadline) {
  ChallengeOutcome outcome;
  std::string question = challenge_line(nonce), line;
  Instant ask_at = clock.now() + repeat_after / 2;
  std::array<std::uint8_t, 512> buffer;
  while (clock.now() < deadline) {
    if (clock.now() >= ask_at) {
      // The newline before it ends whatever half line the firmware's reader holds.
      CO_TRY(co_await port.write(as_bytes("\n" + question), deadline + 1s));
      ask_at = clock.now() + repeat_after;
    }
    CO_TRY(std::size_t count, co_await port.read_some(buffer, std::min(ask_at, deadline)));
    std::string_view text = as_text(ByteView{buffer.data(), count});
    outcome.boot_log += text;
    if (outcome.boot_log.size() > boot_log_limit) outcome.boot_log.erase(0, outcome.boot_log.size() - boot_log_limit);
    for (char c : text) {
      if (c != '\n') {
        if (line.size() <= longest_line) line += c;
        continue;
      }
      auto proof = parse_proof_line(line);
      std::string answered = std::exchange(line, {});
      if (!proof) {
        if (!trim(answered).empty()) outcome.seen = escape_controls(std::string{trim(answered)}.substr(0, 120));
        continue;
      }
      if (proves(*proof, mac, nonce, public_key_der)) {
        outcome.kind = ChallengeOutcome::Kind::proved;
        co_return outcome;
      }
      outcome.kind = ChallengeOutcome::Kind::wrong;
      outcome.seen = proof->mac != mac ? fmt::format("it answered as {}", to_string_with_colons(proof->mac))
                                       : "its signature is by another key";
      co_return outcome;
    }
  }
  co_return outcome;
}

}  // namespace espmint
