// sim/old_firmware.hpp: imitations of the sketches in the field, faults included: a line counts as whole when a second
// passes without a byte, and what was stored once is there for ever. See docs/virtual-board.md.
#pragma once

#include <span>

#include "sim/app_firmware.hpp"
#include "sim/nvs.hpp"

namespace espmint::sim {

/// Where firmware in the field keeps its key in NVS, and `device/` too.
inline constexpr std::string_view provision_space = "provision", provision_done = "done";

struct OldSketch {
  struct Name {
    std::string_view key, shown;  // in NVS; on the line
  };
  std::span<const Name> fields;
  bool stores = true, shows = true;
  bool repeats_address = false;  // the first field as bytes, every 3 s
};

inline constexpr std::array<OldSketch::Name, 3> three_fields{{{"key1", "Key1"}, {"key2", "Key2"}, {"key3", "Key3"}}};
inline constexpr std::array<OldSketch::Name, 5> five_fields{{{"devAddr", "devAddr"},
                                                             {"nwkSKey", "nwkSKey"},
                                                             {"appSKey", "appSKey"},
                                                             {"appKey", "appKey"},
                                                             {"devEui", "devEui"}}};
inline constexpr OldSketch old3{.fields = three_fields};
inline constexpr OldSketch old5{.fields = five_fields, .repeats_address = true};
inline constexpr OldSketch forgetful{.fields = three_fields, .stores = false};
inline constexpr OldSketch mute{.fields = three_fields, .shows = false};

class OldFirmware final : public AppFirmware {
 public:
  OldFirmware(const OldSketch& sketch, Nvs nvs) : sketch_(sketch), nvs_(nvs) {}
  Reaction start(Time now) override;
  Reaction hear(Time now, ByteView) override;
  [[nodiscard]] std::optional<Time> next_tick() const override { return next_; }
  Reaction tick(Time now) override;

 private:
  /// A line, or what has come of one. Restarts when it has a comma.
  Reaction take_line(Time now);
  const OldSketch& sketch_;
  Nvs nvs_;
  bool provisioned_ = false, restarting_ = false;
  std::string line_;
  bool reading_ = false;  // the sketch waits for the line's end and does nothing else
  std::optional<Time> next_;
};

/// The first NVS partition of the table; one without pages, which keeps nothing, when there is none.
Nvs nvs_of(NorFlash, const std::vector<Partition>&);

}  // namespace espmint::sim
