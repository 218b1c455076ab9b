// sim/challenge_firmware.hpp: an application that reads its identity from its own flash, wherever it lies there, and
// proves it when asked (docs/formats/challenge.md). It prints no secret.
#pragma once

#include "sim/app_firmware.hpp"

struct evp_pkey_st;

namespace espmint::sim {

class ChallengeFirmware final : public AppFirmware {
 public:
  /// `hmac_key`: in the chip's eFuse, for encrypted NVS; empty: none.
  ChallengeFirmware(const Mac&, ByteView flash, const std::vector<Partition>&, ByteView hmac_key = {});
  Reaction start(Time) override;
  Reaction hear(Time, ByteView) override;

 private:
  void log(char level, int milliseconds_up, std::string_view text);
  std::string answer(std::string_view line) const;
  Mac mac_;
  std::shared_ptr<evp_pkey_st> key_;
  std::string greeting_;
  std::string line_;
};

}  // namespace espmint::sim
