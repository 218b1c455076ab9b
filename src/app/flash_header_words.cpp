#include "app/flash_header_words.hpp"

#include <fmt/format.h>

namespace espmint::app {
namespace {

bool is_wish(std::string_view word) { return !word.empty() && word != "keep"; }

tl::unexpected<Fault> cannot_say(std::string_view option, std::string_view word, std::string advice) {
  return fail(bad_input(Code::usage, fmt::format("--{} cannot be '{}' here", option, word), {}, std::move(advice)));
}

}  // namespace

bool FlashHeaderWords::any() const { return is_wish(mode) || is_wish(frequency) || is_wish(size); }

Result<FlashHeader> FlashHeaderWords::chosen(const ChipSpec* chip) const {
  FlashHeader out;
  if (is_wish(mode)) {
    out.mode = flash_mode_of(mode);
    if (!out.mode) return cannot_say("flash-mode", mode, "possible are qio, qout, dio and dout");
  }
  if (is_wish(frequency)) {
    if (chip == nullptr)
      return cannot_say("flash-freq", frequency, "a frequency's number depends on the chip: name it with --chip");
    out.frequency_code = flash_frequency_of(frequency, chip->image_chip_id);
    if (!out.frequency_code)
      return cannot_say("flash-freq", frequency,
                        fmt::format("{} knows others: 80m, 40m, 26m, 20m on most chips", chip->title));
  }
  if (is_wish(size)) {
    out.size = parse_number(size);
    if (!out.size || !flash_size_code_of(*out.size))
      return cannot_say("flash-size", size, "possible are 1MB, 2MB, 4MB, 8MB, 16MB, 32MB, 64MB and 128MB");
  }
  return out;
}

void add_flash_header(CLI::App& command, FlashHeaderWords& words, const FlashHeaderDefaults& otherwise) {
  auto add = [&command](const char* name, std::string& target, const char* help, const std::string& without) {
    command.add_option(name, target, fmt::format("{} ({})", help, without))->type_name("WORD");
  };
  add("--flash-mode", words.mode, "qio, qout, dio or dout, in the header", otherwise.mode);
  add("--flash-freq", words.frequency, "Its clock, such as 80m", otherwise.frequency);
  add("--flash-size", words.size, "1MB to 128MB", otherwise.size);
}

Result<const ChipSpec*> chip_of_word(const std::string& name) {
  const ChipSpec* chip = chip_named(name);
  if (chip == nullptr || !has_recipes(*chip))
    return fail(bad_input(Code::usage, fmt::format("images for '{}' are not made here", name), {},
                          fmt::format("known are {}, but for the ESP8266", names_of_all_chips())));
  return chip;
}

}  // namespace espmint::app
