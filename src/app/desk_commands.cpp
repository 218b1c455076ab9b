#include "app/desk_commands.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <filesystem>

#include "app/json.hpp"
#include "app/workspace.hpp"
#include "base/text.hpp"
#include "image/app_image.hpp"
#include "io/file.hpp"
#include "io/loop.hpp"
#include "io/returning_port.hpp"
#include "io/system_ports.hpp"
#include "io/usb_bus.hpp"
#include "recipe/checks.hpp"
#include "rom/connect.hpp"
#include "rom/flash.hpp"
#include "rom/identify.hpp"

namespace espmint::app {
namespace {

/// A board that is connected, identified and, where allowed, runs the stub at full speed.
struct Desk {
  std::unique_ptr<Port> port;
  std::unique_ptr<Loader> loader;
  BoardInfo board;
  bool usb_serial_jtag = false;
};

Result<PortInfo> choose_port(const Settings& settings) {
  std::vector<PortInfo> there = list_ports();
  if (!settings.ports.empty()) {
    PortInfo info;
    info.name = settings.ports.front();
    for (const PortInfo& port : there)
      if (port.name == info.name || port.location == info.name) info = port;
    return info;
  }
  std::vector<PortInfo> likely;
  for (const PortInfo& port : there)
    if (is_known_adapter(port)) likely.push_back(port);
  if (likely.size() == 1) return likely.front();
  if (likely.empty())
    if (auto faults = usb_faults(); !faults.empty()) return fail(std::move(faults.front()));
  Fault fault{Code::port_missing, Remedy::refuse, likely.empty() ? "no board's serial port is here" : "several boards are here"};
  for (const PortInfo& port : likely) fault.seen += (fault.seen.empty() ? "" : ", ") + port.name;
  fault.advice = likely.empty() ? "Plug one in, or name it: --port /dev/ttyUSB0 (`espmint board list` shows all ports)"
                                : "Say which with --port";
  return fail(std::move(fault));
}

/// A port that is not there: the bus may say why.
Fault reason_for_no_port(Fault fault, const std::string& name) {
  if (fault.code != Code::port_missing || !name.starts_with("/dev/tty")) return fault;
  std::vector<Fault> faults = usb_faults();
  return faults.empty() ? fault : std::move(faults.front());
}

Task<Result<void>> sit_down(Desk& desk, RealLoop& loop, PortOpener& opener, const DeskOptions& options, bool with_flash) {
  CO_TRY(PortInfo info, choose_port(options.settings));
  desk.usb_serial_jtag = info.vendor_id == 0x303a && info.product_id == 0x1001;
  auto there = co_await opener.open(info.name);
  if (!there) co_return fail(reason_for_no_port(std::move(there.error()), info.name));
  std::unique_ptr<Port> opened = std::move(*there);
  desk.port = std::make_unique<ReturningPort>(opener, loop, info, std::move(opened));
  desk.loader = std::make_unique<Loader>(*desk.port, loop);
  ConnectOptions how{.usb_serial_jtag = desk.usb_serial_jtag, .reset = !options.no_reset, .return_patience = return_patience};
  CO_TRY(co_await connect(*desk.loader, how));
  CO_TRY(desk.board, co_await identify(*desk.loader));
  const ChipSpec& chip = *desk.board.chip;
  if (options.chip != "auto") {
    const ChipSpec* wanted = chip_named(options.chip);
    if (!wanted)
      co_return fail({Code::usage, Remedy::refuse, fmt::format("\"{}\" is no chip that this version knows", options.chip), {}, {}, "It knows esp32, esp32s3, esp32c3"});
    if (wanted != &chip)
      co_return fail({Code::chip_mismatch, Remedy::refuse, fmt::format("this board is {}, not {}", chip.title, wanted->title), {}, {}, {}});
  }
  StubLibrary stubs = options.no_stub ? StubLibrary{} : load_stubs(options.settings);
  auto stub = stubs.find(chip.id);
  if (with_flash) {
    Baud rom_baud = std::min(options.settings.baud, Baud{921'600});
    CO_TRY(co_await desk.loader->change_baud(rom_baud));
    if (stub != stubs.end()) {
      // On a port without reset lines it may run already.
      if (desk.loader->speaker() == Speaker::rom) CO_TRY(co_await start_stub(*desk.loader, *stub->second));
      CO_TRY(co_await desk.loader->change_baud(options.settings.baud));
    } else if (!options.no_stub && !options.voice.quiet && !options.voice.json) {
      std::fputs("no stub flasher found: going on with the ROM's own loader, which is slower\n", stderr);
    }
  }
  CO_TRY(co_await read_flash_id(*desk.loader, desk.board));
  co_return ok();
}

Task<Result<void>> stand_up(Desk& desk, RealLoop& loop, const DeskOptions& options) {
  if (!options.stay && !options.no_reset) {
    auto reset = co_await reset_into_application(*desk.port, loop);
    bool went_along = !reset && reset.error().code == Code::port_gone && desk.port->absences().count > 0;
    if (went_along) co_return ok();
    if (reset || reset.error().code != Code::no_reset_lines) co_return reset;
  }
  // It stays in download mode: the next command finds it at the speed that every command starts with.
  auto back = co_await desk.loader->change_baud(Baud{});
  if (!back && !options.voice.quiet)
    std::fputs(fmt::format("espmint: {}; reset the board before the next command\n", describe(back.error())).c_str(), stderr);
  co_return ok();  // what was asked for is done
}

using DeskWork = std::function<Task<Result<void>>(Desk&)>;

// Parameters by value: the coroutine outlives nobody's stack but its own.
Task<> at_the_desk(RealLoop& loop, PortOpener& opener, const DeskOptions& options, bool with_flash, DeskWork work, Result<void>& end) {
  Desk desk;
  end = co_await sit_down(desk, loop, opener, options, with_flash);
  if (end) end = co_await work(desk);
  if (end) end = co_await stand_up(desk, loop, options);
  if (!end && end.error().where.slot.empty() && desk.port) end.error().where.slot = desk.port->name();
}

Exit with_desk(const DeskOptions& options, bool with_flash, DeskWork work) {
  RealLoop loop;
  auto opener = make_system_port_opener(loop);
  Result<void> end;
  loop.run(at_the_desk(loop, *opener, options, with_flash, std::move(work), end));
  return end ? Exit::good : report(end.error(), options.voice);
}

Result<std::uint32_t> parse_u32(const std::string& text, std::string_view what) {
  auto number = parse_number(text);
  if (!number || *number > 0xffff'ffff)
    return fail({Code::usage, Remedy::refuse, fmt::format("\"{}\" is no {}", text, what), {}, {}, "Write 4096, 0x1000, 64K or 4MB"});
  return static_cast<std::uint32_t>(*number);
}

struct Part {
  FlashOffset at;
  std::string file;
  Bytes bytes;
};

Result<std::vector<Part>> read_parts(const FlashParts& parts) {
  std::vector<Part> out;
  for (const auto& [offset, file] : parts) {
    Part part;
    TRY(part.at.bytes, parse_u32(offset, "flash offset"));
    if (part.at.bytes % 0x1000 != 0)
      return fail({Code::usage, Remedy::refuse, fmt::format("{} is no start of a sector", offset), {}, {},
                   "Flash is erased in sectors of 0x1000 bytes: what lies before in this one would be lost"});
    TRY(part.bytes, read_file(file));
    part.file = file;
    if (part.bytes.empty()) return fail({Code::input_invalid, Remedy::refuse, fmt::format("{} is empty", file), {}, {}, {}});
    out.push_back(std::move(part));
  }
  for (std::size_t i = 0; i < out.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) {
      FlashRange a{out[i].at, static_cast<std::uint32_t>(out[i].bytes.size())}, b{out[j].at, static_cast<std::uint32_t>(out[j].bytes.size())};
      if (a.overlaps(b))
        return fail({Code::usage, Remedy::refuse, fmt::format("{} and {} overlap in flash", out[j].file, out[i].file), {}, {}, "Check the offsets"});
    }
  return out;
}

Result<void> fits(const Part& part, const BoardInfo& board) {
  if (std::uint64_t{part.at.bytes} + part.bytes.size() <= board.flash_size) return ok();
  Fault fault{Code::flash_too_small, Remedy::refuse, fmt::format("{} does not fit", part.file)};
  fault.seen = fmt::format("it ends at {:#x}, the flash has {}", part.at.bytes + part.bytes.size(), show_bytes(board.flash_size));
  return fail(std::move(fault));
}

Task<Result<void>> write_part(Desk& desk, const Part& part, bool detect_flash_size, const Voice& voice) {
  Bytes bytes = part.bytes;
  // A bootloader's header says the flash's size: on request it is made to say this flash's, with a valid digest.
  if (detect_flash_size && part.at == desk.board.chip->bootloader && parse_app_image(bytes)) {
    CO_TRY(bytes, with_flash_size(bytes, desk.board.flash_size));
  }
  auto region = prepare_region(part.at, bytes, WriteFormat::of(desk.loader->speaker(), *desk.board.chip));
  ProgressLine bar{fmt::format("{:#08x} {}", part.at.bytes, part.file), bytes.size(), voice};
  Instant start = desk.loader->clock().now();
  CO_TRY(co_await write_region(*desk.loader, *region, [&bar](std::uint64_t done) { bar.show(done); }));
  double seconds = std::chrono::duration<double>(desk.loader->clock().now() - start).count();
  CO_TRY(Md5 on_board, co_await flash_md5(*desk.loader, region->range));
  if (on_board != region->md5) {
    Fault fault{Code::flash_differs, Remedy::retry, fmt::format("{} is not on the flash as it was sent", part.file)};
    fault.where.offset = part.at.bytes;
    fault.seen = fmt::format("board MD5 {}, sent MD5 {}", to_hex(on_board), to_hex(region->md5));
    co_return fail(std::move(fault));
  }
  if (voice.json) {
    print_json({{"v", 1}, {"event", "written"}, {"offset", part.at.bytes}, {"size", bytes.size()}, {"file", part.file},
                {"wire_bytes", region->wire_bytes()}, {"seconds", seconds}, {"md5", to_hex(on_board)}});
  } else if (!voice.quiet) {
    std::fputs(fmt::format("{:#08x}  {}  {} bytes ({} sent) in {:.1f} s, verified\n", part.at.bytes, part.file, bytes.size(),
                           region->wire_bytes(), seconds).c_str(), stdout);
  }
  co_return ok();
}

/// Images in a file, its own or those of a merged one, must be for this chip and revision.
Result<void> suits(const Part& part, const BoardInfo& board) {
  for (std::uint32_t inside : {0u, 0x1000u}) {  // where the bootloaders of the chips lie in a merged file
    if (inside >= part.bytes.size() || (inside != 0 && part.at.bytes != 0)) continue;
    auto image = parse_app_image(ByteView{part.bytes}.subspan(inside));
    if (!image) continue;
    bool is_bootloader = part.at.bytes + inside == board.chip->bootloader.bytes || !runs_from_flash(*image);
    auto good = check_image_for_board(*image, part.file, is_bootloader, *board.chip, board.revision.full());
    if (good) continue;
    good.error().advice += "; --force writes it all the same";
    return good;
  }
  return ok();
}

Task<Result<void>> write_parts(Desk& desk, const std::vector<Part>& parts, bool detect_flash_size, bool force, const Voice& voice) {
  for (const Part& part : parts) {
    CO_TRY(fits(part, desk.board));
    if (!force) CO_TRY(suits(part, desk.board));
  }
  for (const Part& part : parts) CO_TRY(co_await write_part(desk, part, detect_flash_size, voice));
  co_return ok();
}

Task<Result<void>> verify_parts(Desk& desk, const std::vector<Part>& parts, const Voice& voice) {
  std::optional<Fault> first;
  for (const Part& part : parts) {
    CO_TRY(fits(part, desk.board));
    FlashRange range{part.at, static_cast<std::uint32_t>(part.bytes.size())};
    CO_TRY(Md5 on_board, co_await flash_md5(*desk.loader, range));
    bool equal = on_board == md5_of(part.bytes);
    // A bootloader was perhaps written with its size field set to this flash's.
    if (!equal && part.at == desk.board.chip->bootloader && parse_app_image(part.bytes)) {
      CO_TRY(Bytes patched, with_flash_size(part.bytes, desk.board.flash_size));
      equal = on_board == md5_of(patched);
    }
    if (voice.json) {
      print_json({{"v", 1}, {"event", "verified"}, {"offset", part.at.bytes}, {"file", part.file}, {"equal", equal}});
    } else if (!voice.quiet) {
      std::fputs(fmt::format("{:#08x}  {}  {}\n", part.at.bytes, part.file, equal ? "equal" : "DIFFERS").c_str(), stdout);
    }
    if (!equal && !first) {
      first = Fault{Code::flash_differs, Remedy::refuse, fmt::format("{} is not what the flash holds", part.file)};
      first->where.offset = part.at.bytes;
    }
  }
  if (first) co_return fail(std::move(*first));
  co_return ok();
}

Task<Result<void>> read_range(Desk& desk, FlashRange range, std::string file, const Voice& voice) {
  if (range.size == 0 || range.end() > desk.board.flash_size)
    co_return fail({Code::usage, Remedy::refuse, "that range is not in the flash", {}, fmt::format("it has {}", show_bytes(desk.board.flash_size)), {}});
  ProgressLine bar{"reading", range.size, voice};
  CO_TRY(Bytes bytes, co_await read_flash(*desk.loader, range, [&bar](std::uint64_t done) { bar.show(done); }));
  CO_TRY(write_file(file, bytes));
  if (voice.json) print_json({{"v", 1}, {"event", "read"}, {"offset", range.at.bytes}, {"size", range.size}, {"file", file}, {"md5", to_hex(md5_of(bytes))}});
  co_return ok();
}

Task<Result<void>> erase_range(Desk& desk, std::optional<FlashRange> range, const Voice& voice) {
  if (range && range->end() > desk.board.flash_size)
    co_return fail({Code::usage, Remedy::refuse, "that range is not in the flash", {}, fmt::format("it has {}", show_bytes(desk.board.flash_size)), {}});
  if (range) {
    CO_TRY(co_await erase_region(*desk.loader, *range));
  } else {
    CO_TRY(co_await erase_chip(*desk.loader, desk.board.flash_size));
  }
  if (voice.json) {
    print_json({{"v", 1}, {"event", "erased"}, {"offset", range ? range->at.bytes : 0}, {"size", range ? range->size : desk.board.flash_size}});
  } else if (!voice.quiet) {
    std::fputs("erased\n", stdout);
  }
  co_return ok();
}

Task<Result<void>> show_board(Desk& desk, const Voice& voice) {
  const BoardInfo& board = desk.board;
  const Security& security = board.security;
  if (voice.json) {
    Json json{{"v", 1}};
    json.update(board_json(board));
    json["port"] = desk.port->name();
    json["secure_boot"] = security.secure_boot;
    json["flash_encryption"] = security.flash_encryption;
    json["jtag_disabled"] = security.jtag_disabled;
    json["download_disabled"] = security.download_disabled;
    print_json(json);
    co_return ok();
  }
  auto row = [](std::string_view name, const std::string& value) { std::fputs(fmt::format("{:<18}{}\n", name, value).c_str(), stdout); };
  row("port", desk.port->name());
  row("chip", fmt::format("{} revision {}", board.chip->title, to_string(board.revision)));
  row("MAC", to_string_with_colons(board.mac));
  if (!board.unique_id.empty()) row("unique id", board.unique_id);
  row("flash", fmt::format("{} (JEDEC id {:06x})", show_bytes(board.flash_size), board.flash_id));
  row("secure boot", security.secure_boot ? "on" : "off");
  row("flash encryption", security.flash_encryption ? "on" : "off");
  row("JTAG", security.jtag_disabled ? "switched off for good" : "usable");
  co_return ok();
}

}  // namespace

Exit report(const Fault& fault, const Voice& voice) {
  if (voice.json) print_json(fault_json(fault));
  std::fputs(fmt::format("espmint: {} [{}]\n", describe(fault), name_of(fault.code)).c_str(), stderr);
  return exit_of(fault.code);
}

Exit board_list(const DeskOptions& options) {
  for (const PortInfo& port : list_ports()) {
    bool used = is_known_adapter(port);
    if (options.voice.json) {
      print_json({{"v", 1}, {"port", port.name}, {"location", port.location}, {"product", port.product}, {"serial", port.serial},
                  {"usb_id", port.is_usb() ? Json(fmt::format("{:04x}:{:04x}", port.vendor_id, port.product_id)) : Json{}}, {"used", used}});
    } else {
      std::fputs(escape_controls(fmt::format("{:<16} {:<24} {} {}", port.name, port.location,
                             port.is_usb() ? fmt::format("{:04x}:{:04x} {}", port.vendor_id, port.product_id, port.product) : "not USB",
                             used ? "" : "(ignored unless named with --port)")).append("\n").c_str(), stdout);
    }
  }
  return Exit::good;
}

Exit board_info(const DeskOptions& options) {
  return with_desk(options, false, [&options](Desk& desk) { return show_board(desk, options.voice); });
}

namespace {

Task<> reset_only(RealLoop& loop, PortOpener& opener, const DeskOptions& options, bool into_download, Result<void>& end) {
  auto info = choose_port(options.settings);
  if (!info) {
    end = fail(info.error());
    co_return;
  }
  auto opened = co_await opener.open(info->name);
  if (!opened) {
    end = fail(opened.error());
    co_return;
  }
  ReturningPort port{opener, loop, *info, std::move(*opened)};
  if (into_download) {
    Loader loader{port, loop};
    bool usb_serial_jtag = info->vendor_id == 0x303a && info->product_id == 0x1001;
    end = co_await connect(loader, {.usb_serial_jtag = usb_serial_jtag, .return_patience = return_patience});
    co_return;
  }
  end = co_await reset_into_application(port, loop);
  if (end || end.error().code != Code::port_gone) co_return;
  auto back = co_await port.reopen(loop.now() + return_patience);  // the chip's own USB went with it
  end = back ? Result<void>{} : Result<void>{fail(back.error())};
}

}  // namespace

Exit board_reset(const DeskOptions& options, bool into_download) {
  RealLoop loop;
  auto opener = make_system_port_opener(loop);
  Result<void> end;
  loop.run(reset_only(loop, *opener, options, into_download, end));
  if (!end) return report(end.error(), options.voice);
  if (options.voice.json) {
    print_json({{"v", 1}, {"event", "reset"}, {"into", into_download ? "download" : "application"}});
  } else if (!options.voice.quiet) {
    std::fputs(into_download ? "in download mode\n" : "the application was started\n", stdout);
  }
  return Exit::good;
}

Exit flash_write(const DeskOptions& options, const FlashParts& named, bool detect_flash_size, bool force) {
  auto parts = read_parts(named);
  if (!parts) return report(parts.error(), options.voice);
  return with_desk(options, true, [&](Desk& desk) { return write_parts(desk, *parts, detect_flash_size, force, options.voice); });
}

Exit flash_verify(const DeskOptions& options, const FlashParts& named) {
  auto parts = read_parts(named);
  if (!parts) return report(parts.error(), options.voice);
  return with_desk(options, true, [&](Desk& desk) { return verify_parts(desk, *parts, options.voice); });
}

Exit flash_read(const DeskOptions& options, const std::string& offset, const std::string& size, const std::string& file) {
  auto at = parse_u32(offset, "flash offset"), bytes = parse_u32(size, "size");
  if (!at) return report(at.error(), options.voice);
  if (!bytes) return report(bytes.error(), options.voice);
  if (*bytes == 0) return report({Code::usage, Remedy::refuse, "there is nothing to read in 0 bytes", {}, {}, "Say a size: 4096, 0x1000, 64K, 4MB"}, options.voice);
  // Seconds of reading are not to end at a folder that is not there.
  auto folder = std::filesystem::absolute(file).parent_path();
  if (!std::filesystem::is_directory(folder))
    return report({Code::output_unwritable, Remedy::refuse, fmt::format("{} cannot be written", file), {}, fmt::format("there is no folder {}", folder.string()), "Make it, or name another file"}, options.voice);
  return with_desk(options, true, [&](Desk& desk) { return read_range(desk, {{*at}, *bytes}, file, options.voice); });
}

Exit flash_erase(const DeskOptions& options, const std::string& offset, const std::string& size) {
  std::optional<FlashRange> range;
  if (!offset.empty()) {
    auto at = parse_u32(offset, "flash offset"), bytes = parse_u32(size, "size");
    if (!at) return report(at.error(), options.voice);
    if (!bytes) return report(bytes.error(), options.voice);
    range = FlashRange{{*at}, *bytes};
  }
  return with_desk(options, true, [&](Desk& desk) { return erase_range(desk, range, options.voice); });
}

}  // namespace espmint::app
