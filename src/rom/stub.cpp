#include "rom/stub.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/base64.hpp"
#include "rom/identify.hpp"

namespace espmint {
namespace {

constexpr std::size_t stub_limit = 256 * 1024;  // no chip has more RAM for it

Result<Bytes> segment(const nlohmann::json& json, const char* key) {
  auto bytes = from_base64(json.at(key).get<std::string>());
  if (!bytes || bytes->size() > stub_limit)
    return fail({Code::input_invalid, Remedy::refuse, fmt::format("the stub file's \"{}\" is no base64", key)});
  return std::move(*bytes);
}

Task<Result<void>> upload(Loader& loader, std::uint32_t address, ByteView bytes) {
  const std::uint32_t ram_block = loader.console() == Console::usb_otg ? ram_block_bytes_usb_otg : ram_block_bytes;
  std::uint32_t blocks = (static_cast<std::uint32_t>(bytes.size()) + ram_block - 1) / ram_block;
  Bytes begin;
  for (std::uint32_t word : {static_cast<std::uint32_t>(bytes.size()), blocks, ram_block, address})
    put_u32(begin, word);
  CO_TRY(co_await loader.command(Op::mem_begin, begin));
  for (std::uint32_t sequence = 0; sequence < blocks; ++sequence) {
    ByteView part = bytes.subspan(std::size_t{sequence} * ram_block);
    part = part.first(std::min<std::size_t>(part.size(), ram_block));
    Bytes body;
    body.reserve(16 + part.size());
    for (std::uint32_t word : {static_cast<std::uint32_t>(part.size()), sequence, 0u, 0u}) put_u32(body, word);
    append(body, part);
    CO_TRY(co_await loader.command(Op::mem_data, body, checksum_of(part)));
  }
  co_return ok();
}

}  // namespace

Result<StubImage> parse_stub(ByteView json_bytes) {
  try {
    auto json = nlohmann::json::parse(json_bytes.begin(), json_bytes.end());
    StubImage stub;
    stub.entry = json.at("entry").get<std::uint32_t>();
    stub.text_start = json.at("text_start").get<std::uint32_t>();
    stub.data_start = json.value("data_start", std::uint32_t{0});
    TRY(stub.text, segment(json, "text"));
    if (json.contains("data")) {
      TRY(stub.data, segment(json, "data"));
    }
    return stub;
  } catch (const nlohmann::json::exception& error) {
    Fault fault{Code::input_invalid, Remedy::refuse, "the stub file is not what esptool-js ships"};
    fault.seen = error.what();
    return fail(std::move(fault));
  }
}

const StubImage* stub_for(const StubLibrary& library, const ChipSpec& chip, Revision revision) {
  auto found = library.find(stub_file(chip, revision));
  return found == library.end() ? nullptr : found->second.get();
}

bool has_stubs_for(const StubLibrary& library, const ChipSpec& chip) {
  for (const StubFile& file : chip.stubs)
    if (!file.name.empty() && library.find(file.name) == library.end()) return false;
  return true;
}

Task<Result<void>> start_stub(Loader& loader, const StubImage& stub) {
  CO_TRY(co_await make_ready(loader));
  CO_TRY(co_await upload(loader, stub.text_start, stub.text));
  if (!stub.data.empty()) CO_TRY(co_await upload(loader, stub.data_start, stub.data));
  Bytes jump;
  put_u32(jump, 0);  // 0: jump to the entry
  put_u32(jump, stub.entry);
  CO_TRY(co_await loader.command(Op::mem_end, jump));
  // The stub greets with a frame of four letters; text that the ROM still had to say may come before it.
  for (int frames = 0; frames < 4; ++frames) {
    CO_TRY(Bytes frame, co_await loader.receive_frame(std::chrono::milliseconds{500}));
    if (as_text(frame) == "OHAI") {
      loader.stub_speaks();
      co_return ok();
    }
  }
  co_return fail({Code::stub_failed,
                  Remedy::reconnect,
                  "the stub flasher did not start",
                  {},
                  "no greeting after MEM_END",
                  "Try again with --no-stub; if that works, please report the chip's revision"});
}

}  // namespace espmint
