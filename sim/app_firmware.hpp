// sim/app_firmware.hpp: the application that "runs" on a virtual board. Which one is decided by the app image in its
// flash: what sim/make_firmware wrote there names it, and an image from elsewhere is taken for `challenge`.
#pragma once

#include <array>
#include <memory>

#include "base/mac.hpp"
#include "sim/boot.hpp"
#include "sim/nor_flash.hpp"
#include "sim/presets.hpp"

namespace espmint::sim {

/// What an application does when something happens.
struct Reaction {
  Bytes says{};
  bool signs = false;     // it takes as long as a signature does
  bool restarts = false;  // afterwards, by software
};

class AppFirmware {
 public:
  virtual ~AppFirmware() = default;
  /// After the boot.
  virtual Reaction start(Time now) = 0;
  /// Takes what has come over the line by `now`.
  virtual Reaction hear(Time now, ByteView) = 0;
  /// When it does something by itself; later than the last tick.
  [[nodiscard]] virtual std::optional<Time> next_tick() const { return std::nullopt; }
  virtual Reaction tick(Time) { return {}; }
};

/// The chip that an application runs on.
struct Hardware {
  Mac mac;
  NorFlash flash;
  ByteView hmac_key{};  // in its eFuse, for encrypted NVS; empty: none
};

struct AppKind {
  std::string_view name, what;
  std::unique_ptr<AppFirmware> (*make)(const Hardware&, const std::vector<Partition>&);
};
/// The first is what runs when nothing is said.
std::span<const AppKind> all_app_kinds();
const AppKind* app_kind_named(std::string_view name);

/// The application of an image that names this kind.
std::unique_ptr<AppFirmware> make_app_firmware(std::string_view kind, const Hardware&, const std::vector<Partition>&);

}  // namespace espmint::sim
