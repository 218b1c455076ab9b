#include "sim/app_firmware.hpp"

#include "sim/challenge_firmware.hpp"
#include "sim/device_firmware.hpp"
#include "sim/old_firmware.hpp"

namespace espmint::sim {
namespace {

using Made = std::unique_ptr<AppFirmware>;
using Table = std::vector<Partition>;

template <const OldSketch& sketch>
Made make_old(const Hardware& on, const Table& table) {
  return std::make_unique<OldFirmware>(sketch, nvs_of(on.flash, table));
}
template <device::Dialect dialect, DeviceFlaw flaw = DeviceFlaw::none>
Made make_device(const Hardware& on, const Table& table) {
  return std::make_unique<DeviceFirmware>(dialect, on.mac, nvs_of(on.flash, table), flaw);
}

template <DeviceFlaw flaw>
constexpr auto make_framed = make_device<device::Dialect::framed, flaw>;

constexpr std::array kinds{
    AppKind{"challenge", "reads its identity from its flash and signs challenges",
            [](const Hardware& on, const Table& table) -> Made {
              return std::make_unique<ChallengeFirmware>(on.mac, on.flash.view(), table, on.hmac_key);
            }},
    AppKind{"old3", "takes a line of three fields, as a sketch in the field does", make_old<old3>},
    AppKind{"old5", "takes a line of five fields, as a sketch in the field does", make_old<old5>},
    AppKind{"device-line", "device/, dialect line, three fields", make_device<device::Dialect::line>},
    AppKind{"device-framed", "device/, dialect framed, three fields", make_device<device::Dialect::framed>},
    AppKind{"forgetful", "old3 that says Provisioned and stores nothing", make_old<forgetful>},
    AppKind{"mute", "old3 that never shows what it stored", make_old<mute>},
    AppKind{"framed-forgetful", "device-framed that has no key after a restart", make_framed<DeviceFlaw::forgets>},
    AppKind{"framed-other", "device-framed that gives back other bytes after a restart",
            make_framed<DeviceFlaw::keeps_other>},
    AppKind{"framed-stranger", "device-framed that says another MAC", make_framed<DeviceFlaw::other_mac>},
};

}  // namespace

std::span<const AppKind> all_app_kinds() { return kinds; }

const AppKind* app_kind_named(std::string_view name) {
  for (const AppKind& kind : kinds)
    if (kind.name == name) return &kind;
  return nullptr;
}

std::unique_ptr<AppFirmware> make_app_firmware(std::string_view name, const Hardware& on,
                                               const std::vector<Partition>& table) {
  const AppKind* kind = app_kind_named(name);
  return (kind ? *kind : kinds[0]).make(on, table);
}

}  // namespace espmint::sim
