// sim/app_firmware.hpp: the application that "runs" on a virtual board: reads its identity from its own SPIFFS
// partition and proves it when asked. It prints no secret.
#pragma once

#include <memory>

#include "base/mac.hpp"
#include "sim/boot.hpp"

struct evp_pkey_st;

namespace espmint::sim {

class AppFirmware {
 public:
  AppFirmware(const Mac&, ByteView flash, const std::vector<Partition>&);
  /// What it says when it starts.
  [[nodiscard]] const std::string& greeting() const { return greeting_; }
  /// Takes what came over the line; returns what it answers.
  std::string hear(ByteView);

 private:
  std::string answer(std::string_view line) const;
  Mac mac_;
  std::shared_ptr<evp_pkey_st> key_;
  std::string greeting_;
  std::string line_;
};

}  // namespace espmint::sim
