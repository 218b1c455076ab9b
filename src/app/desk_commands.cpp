#include "app/desk_commands.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "app/desk.hpp"
#include "app/flash_parts.hpp"
#include "app/json.hpp"
#include "base/text.hpp"
#include "image/app_image.hpp"
#include "io/loop.hpp"
#include "io/returning_port.hpp"
#include "io/system_ports.hpp"
#include "recipe/checks.hpp"
#include "rom/connect.hpp"
#include "rom/flash.hpp"
#include "rom/identify.hpp"

namespace espmint::app {
namespace {

/// The part with its bootloader's header as wished, where it has one; a merged file may have it inside.
Result<Bytes> with_wished_header(const Part& part, const FlashHeader& wish, const BoardInfo& board) {
  const std::uint32_t bootloader = board.chip->bootloader.bytes;
  const bool covered = bootloader >= part.at.bytes && bootloader - part.at.bytes < part.bytes.size();
  if (wish == FlashHeader{} || !covered) return part.bytes;
  const std::size_t inside = bootloader - part.at.bytes;
  const ByteView image = ByteView{part.bytes}.subspan(inside);
  if (!parse_app_image(image)) return part.bytes;
  TRY(Bytes changed, in_input(with_flash_header(image, wish), part.file));
  Bytes whole = part.bytes;
  std::copy(changed.begin(), changed.end(), whole.begin() + static_cast<std::ptrdiff_t>(inside));
  return whole;
}

/// What the words say for this chip and its flash. Fault usage for what it cannot be.
Result<FlashHeader> header_for(const WriteOptions& words, const BoardInfo& board) {
  FlashHeader wish;
  auto wrong = [](std::string_view option, const std::string& value, std::string advice) {
    return fail({Code::usage, Remedy::refuse, fmt::format("--{} cannot be \"{}\" here", option, value), {}, {}, std::move(advice)});
  };
  if (words.flash_mode != "keep") {
    wish.mode = flash_mode_of(words.flash_mode);
    if (!wish.mode) return wrong("flash-mode", words.flash_mode, "qio, qout, dio, dout or keep");
  }
  if (words.flash_frequency != "keep") {
    wish.frequency_code = flash_frequency_of(words.flash_frequency, board.chip->image_chip_id);
    if (!wish.frequency_code) return wrong("flash-freq", words.flash_frequency, fmt::format("{} knows others: 80m, 40m, 26m, 20m on most chips", board.chip->title));
  }
  if (words.flash_size == "detect") {
    wish.size = board.flash_size;
  } else if (words.flash_size != "keep") {
    auto bytes = parse_number(words.flash_size);
    if (!bytes || !flash_size_code_of(*bytes)) return wrong("flash-size", words.flash_size, "detect, keep, 1MB, 2MB, 4MB, … 128MB");
    if (*bytes > board.flash_size && !words.force) return wrong("flash-size", words.flash_size, fmt::format("this flash has {}; --force writes it all the same", show_bytes(board.flash_size)));
    wish.size = *bytes;
  }
  return wish;
}

/// Encrypted writing is the ROM's: the chip's own key turns what arrives into what is stored.
Result<void> can_encrypt(const BoardInfo& board, bool force) {
  if (!board.chip->rom.deflate_begin_has_encrypted)
    return fail({Code::usage, Remedy::refuse, fmt::format("the ROM of {} does not encrypt what it writes", board.chip->title), {}, {},
                 "Encrypt the file with the key it has, and write that without --encrypt"});
  if (!board.security.flash_encryption && !force)
    return fail({Code::usage, Remedy::refuse, "flash encryption of this board is off: what was written encrypted, nothing could read", {}, {},
                 "Leave --encrypt away; --force writes it all the same"});
  return ok();
}

Task<Result<void>> write_part(Desk& desk, const Part& part, const WriteOptions& words, const FlashHeader& wish, const Voice& voice) {
  CO_TRY(Bytes bytes, with_wished_header(part, wish, desk.board));
  WriteFormat format = WriteFormat::of(desk.loader->speaker(), *desk.board.chip);
  format.encrypt = words.encrypt;
  auto region = prepare_region(part.at, bytes, format);
  Instant start = desk.loader->clock().now();
  {
    ProgressLine bar{fmt::format("{:#08x} {}", part.at.bytes, part.name()), bytes.size(), voice};
    CO_TRY(co_await write_region(*desk.loader, *region, [&bar](std::uint64_t done) { bar.show(done); }));
  }
  double seconds = std::chrono::duration<double>(desk.loader->clock().now() - start).count();
  CO_TRY(Md5 on_board, co_await flash_md5(*desk.loader, region->range));
  // Of what was stored encrypted only the chip knows what it means.
  if (on_board != region->md5 && !words.encrypt) {
    Fault fault{Code::flash_differs, Remedy::retry, fmt::format("{} is not on the flash as it was sent", part.file)};
    fault.where.offset = part.at.bytes;
    fault.seen = fmt::format("board MD5 {}, sent MD5 {}", to_hex(on_board), to_hex(region->md5));
    co_return fail(std::move(fault));
  }
  if (voice.json) {
    print_json({{"v", 1}, {"event", "written"}, {"offset", part.at.bytes}, {"size", bytes.size()}, {"file", part.file},
                {"wire_bytes", region->wire_bytes()}, {"seconds", seconds}, {"md5", to_hex(on_board)}, {"encrypted", words.encrypt}});
  } else if (!voice.quiet) {
    std::fputs(fmt::format("{:#08x}  {}  {} bytes ({} sent) in {:.1f} s, {}\n", part.at.bytes, part.file, bytes.size(),
                           region->wire_bytes(), seconds, words.encrypt ? "encrypted, which leaves nothing to verify" : "verified").c_str(), stdout);
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

Task<Result<void>> write_parts(Desk& desk, const std::vector<Part>& parts, const WriteOptions& words, const Voice& voice) {
  for (const Part& part : parts) {
    CO_TRY(fits(part, desk.board));
    if (!words.force) CO_TRY(suits(part, desk.board));
  }
  if (words.encrypt) CO_TRY(can_encrypt(desk.board, words.force));
  CO_TRY(FlashHeader wish, header_for(words, desk.board));
  for (const Part& part : parts) CO_TRY(co_await write_part(desk, part, words, wish, voice));
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
    ConnectOptions how{.usb_serial_jtag = is_usb_serial_jtag(*info), .return_patience = return_patience};
    end = co_await connect(loader, how);
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

Exit flash_write(const DeskOptions& options, const FlashParts& named, const WriteOptions& words) {
  auto parts = read_parts(named);
  if (!parts) return report(parts.error(), options.voice);
  DeskOptions how = options;
  how.no_stub = how.no_stub || words.encrypt;
  return with_desk(how, true, [&](Desk& desk) { return write_parts(desk, *parts, words, options.voice); });
}

}  // namespace espmint::app
