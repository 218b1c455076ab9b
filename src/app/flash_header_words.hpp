// app/flash_header_words.hpp: --flash-mode, --flash-freq and --flash-size where an image is written to a file.
#pragma once

#include <string>

#include "app/image_command.hpp"
#include "chip/chip.hpp"
#include "image/app_image.hpp"

namespace espmint::app {

struct FlashHeaderWords {
  std::string mode, frequency, size;  // empty or "keep": as it is
  [[nodiscard]] bool any() const;     // whether one says something else
  /// Fault usage for what this chip's header cannot say; a frequency needs a chip.
  [[nodiscard]] Result<FlashHeader> chosen(const ChipSpec*) const;
};

/// `otherwise`: what the header says without these options, a word each for mode, frequency and size.
struct FlashHeaderDefaults {
  std::string mode, frequency, size;
};
void add_flash_header(CLI::App& command, FlashHeaderWords&, const FlashHeaderDefaults& otherwise);

/// The chip of --chip. Fault usage names those that are known.
Result<const ChipSpec*> chip_of_word(const std::string& name);

}  // namespace espmint::app
