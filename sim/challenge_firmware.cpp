#include "sim/challenge_firmware.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "sim/identity_source.hpp"

namespace espmint::sim {
namespace {

constexpr std::string_view challenge_word = "espmint-challenge ";
constexpr std::size_t nonce_bytes = 16, longest_line = 256;

Bytes sign(EVP_PKEY* key, ByteView message) {
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context{EVP_MD_CTX_new(), EVP_MD_CTX_free};
  EVP_PKEY_CTX* parameters = nullptr;
  if (EVP_DigestSignInit(context.get(), &parameters, EVP_sha256(), nullptr, key) != 1) return {};
  if (EVP_PKEY_base_id(key) == EVP_PKEY_RSA) {
    EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING);
    EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, 32);
  }
  std::size_t length = 0;
  if (EVP_DigestSign(context.get(), nullptr, &length, message.data(), message.size()) != 1) return {};
  Bytes signature(length);
  if (EVP_DigestSign(context.get(), signature.data(), &length, message.data(), message.size()) != 1) return {};
  signature.resize(length);
  return signature;
}

std::string base64(ByteView bytes) {
  std::string out(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  int length =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), bytes.data(), static_cast<int>(bytes.size()));
  out.resize(static_cast<std::size_t>(length));
  return out;
}

}  // namespace

ChallengeFirmware::ChallengeFirmware(const Mac& mac, ByteView flash, const std::vector<Partition>& table,
                                     ByteView hmac_key)
    : mac_(mac) {
  log('I', 312, "app: started");
  std::vector<Mounted> storages = mount_all(flash, table, hmac_key);
  bool wants_identity = false;
  for (const Mounted& storage : storages) {
    bool is_nvs = storage.kind == "nvs" || storage.kind == "encrypted nvs";
    bool is_blank = storage.kind == "nvs" && storage.files.empty() && storage.fault.empty();
    if (storage.kind == "nvs keys" || is_blank) continue;
    wants_identity = wants_identity || !is_nvs;
    if (!storage.fault.empty()) {
      log('E', 324, fmt::format("{}: mount failed: {}", storage.kind, storage.fault));
      log('E', 325, fmt::format("app: no {} in {}", is_nvs ? "entries" : "file system", storage.partition.label));
    } else {
      log('I', 331,
          fmt::format("app: mounted {} ({}), {} {}", storage.partition.label, storage.kind, storage.files.size(),
                      is_nvs ? "entries" : "files"));
    }
  }
  std::optional<FoundIdentity> found = find_identity(storages);
  if (found) {
    key_ = found->key;
    log('I', 338, fmt::format("app: identity found in {}", found->from));
    if (found->certificate && !found->belongs_together) log('W', 339, "app: the certificate is of another key");
  } else if (wants_identity) {
    log('I', 338, "app: no identity");
  }
}

/// As ESP-IDF prints it: coloured by level.
void ChallengeFirmware::log(char level, int milliseconds_up, std::string_view text) {
  std::string_view colour = level == 'E' ? "31" : level == 'W' ? "33" : "32";
  greeting_ += fmt::format("\x1b[0;{}m{} ({}) {}\x1b[0m\r\n", colour, level, milliseconds_up, text);
}

Reaction ChallengeFirmware::start(Time) { return {.says = to_bytes(greeting_)}; }

Reaction ChallengeFirmware::hear(Time, ByteView bytes) {
  std::string out;
  for (std::uint8_t byte : bytes) {
    if (byte == '\n') {
      if (!line_.empty() && line_.back() == '\r') line_.pop_back();
      out += answer(line_);
      line_.clear();
    } else if (line_.size() < longest_line) {
      line_ += static_cast<char>(byte);
    }
  }
  return {.says = to_bytes(out), .signs = true};
}

std::string ChallengeFirmware::answer(std::string_view line) const {
  if (!line.starts_with(challenge_word) || !key_) return {};
  std::optional<Bytes> nonce = from_hex(line.substr(challenge_word.size()));
  if (!nonce || nonce->size() != nonce_bytes) return {};
  Bytes message = to_bytes("espmint-v1");
  append(message, mac_.octets);
  append(message, *nonce);
  Bytes signature = sign(key_.get(), message);
  if (signature.empty()) return {};
  return fmt::format("espmint-proof {} {}\n", to_string(mac_), base64(signature));
}

}  // namespace espmint::sim
