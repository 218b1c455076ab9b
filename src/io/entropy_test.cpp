#include "io/entropy.hpp"

#include <gtest/gtest.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

namespace espmint {
namespace {

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

Bytes der_of(EVP_PKEY* key) {
  unsigned char* der = nullptr;
  const int size = i2d_PrivateKey(key, &der);
  Bytes out(der, der + size);
  OPENSSL_free(der);
  return out;
}

Bytes signature_by(EVP_PKEY* key, ByteView message) {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  Bytes out(256);
  std::size_t size = out.size();
  EXPECT_EQ(EVP_DigestSignInit(context, nullptr, EVP_sha256(), nullptr, key), 1);
  EXPECT_EQ(EVP_DigestSign(context, out.data(), &size, message.data(), message.size()), 1);
  EVP_MD_CTX_free(context);
  out.resize(size);
  return out;
}

struct Minted {
  Bytes first_key, second_key, signature, filled;
  bool operator==(const Minted&) const = default;
};

Minted mint_with(Entropy& entropy) {
  const Key first(EVP_EC_gen("P-256"), &EVP_PKEY_free);
  const Key second(EVP_EC_gen("P-256"), &EVP_PKEY_free);
  Minted out{der_of(first.get()), der_of(second.get()), signature_by(first.get(), as_bytes("board")), Bytes(37)};
  entropy.fill(out.filled);
  return out;
}

TEST(SeededEntropy, RepeatsKeysSignaturesAndBytes) {
  const Minted once = mint_with(*make_seeded_entropy(4711));
  const Minted again = mint_with(*make_seeded_entropy(4711));
  EXPECT_EQ(once, again);
  EXPECT_NE(once.first_key, once.second_key);
}

TEST(SeededEntropy, DiffersByItsSeed) {
  const Minted one = mint_with(*make_seeded_entropy(1));
  const Minted two = mint_with(*make_seeded_entropy(2));
  EXPECT_NE(one.first_key, two.first_key);
  EXPECT_NE(one.signature, two.signature);
  EXPECT_NE(one.filled, two.filled);
}

TEST(SeededEntropy, GivesOpensslBackWhenItEnds) {
  { mint_with(*make_seeded_entropy(4711)); }
  const auto system = make_system_entropy();
  EXPECT_NE(mint_with(*system), mint_with(*system));
}

TEST(SystemEntropy, FillsEveryByte) {
  const auto system = make_system_entropy();
  // A place that stays 0 through 16 fills has a chance of 2^-128 to be chance.
  Bytes seen(64);
  for (int i = 0; i < 16; ++i) {
    Bytes bytes(64);
    system->fill(bytes);
    for (std::size_t at = 0; at < seen.size(); ++at) seen[at] |= bytes[at];
  }
  EXPECT_EQ(std::count(seen.begin(), seen.end(), 0), 0);
}

}  // namespace
}  // namespace espmint
