#include "rom/flash.hpp"

#include <fmt/format.h>
#include <libdeflate.h>
#include <zlib.h>

#include <cstdlib>

#include "base/secret.hpp"

namespace espmint {
namespace {

// Shorter runs of 0xFF are programmed: looking whether they are blank, and another stream, cost as much.
constexpr std::uint32_t shortest_blank = 0x4000;
// Of the status bytes of a stub: the frame came damaged and was not taken. Source: esptool documentation, Serial
// Protocol.
constexpr std::uint8_t stub_checksum_wrong = 0xc1;

/// A zlib stream (RFC 1950), as both inflaters expect it; nothing when it would not be smaller.
std::optional<Bytes> deflate(ByteView plain, int level) {
  std::unique_ptr<libdeflate_compressor, decltype(&libdeflate_free_compressor)> compressor{
      libdeflate_alloc_compressor(level), &libdeflate_free_compressor};
  if (!compressor) std::abort();  // out of memory
  Bytes out(plain.size());
  std::size_t size = libdeflate_zlib_compress(compressor.get(), plain.data(), plain.size(), out.data(), out.size());
  if (size == 0) return std::nullopt;
  out.resize(size);
  return out;
}

/// How many plain bytes are known behind each block of a stream.
std::vector<std::uint32_t> plain_ends(ByteView packed, std::uint32_t block_size) {
  z_stream stream{};
  if (inflateInit(&stream) != Z_OK) std::abort();  // out of memory
  std::vector<std::uint32_t> ends;
  Bytes scratch(flash_block);
  while (!packed.empty()) {
    ByteView block = packed.first(std::min<std::size_t>(packed.size(), block_size));
    packed = packed.subspan(block.size());
    stream.next_in = const_cast<Bytef*>(block.data());  // zlib only reads it
    stream.avail_in = static_cast<uInt>(block.size());
    do {
      stream.next_out = scratch.data();
      stream.avail_out = static_cast<uInt>(scratch.size());
      if (inflate(&stream, Z_SYNC_FLUSH) != Z_OK) break;
    } while (stream.avail_in > 0 || stream.avail_out == 0);
    ends.push_back(static_cast<std::uint32_t>(stream.total_out));
  }
  inflateEnd(&stream);
  return ends;
}

std::uint32_t round_up(std::uint32_t size, std::uint32_t to) { return (size + to - 1) / to * to; }

/// The ROM's digest is 32 hex letters, the stub's 16 bytes.
std::optional<Md5> parse_md5(const Bytes& body) {
  Md5 md5{};
  if (body.size() == md5.size()) {
    std::copy(body.begin(), body.end(), md5.begin());
    return md5;
  }
  auto raw = body.size() >= 32 ? from_hex(as_text(ByteView{body}.first(32))) : std::nullopt;
  if (!raw) return std::nullopt;
  std::copy(raw->begin(), raw->end(), md5.begin());
  return md5;
}

/// Not an initializer list: g++ 12 miscompiles one inside a co_await expression.
template <typename... Word>
Bytes words(Word... values) {
  Bytes out;
  (put_u32(out, static_cast<std::uint32_t>(values)), ...);
  return out;
}

/// The fault of block `index`. The stub acknowledges a block before it works on it, so what it reports with the answer
/// to a block is the fate of the one before; the last block's comes with the end command.
Fault at_block(Fault fault, const PreparedRegion& region, std::size_t index, bool reported_late) {
  if (reported_late && fault.code == Code::command_refused && index > 0) --index;
  std::uint64_t before = 0;
  for (std::size_t i = 0; i < index && i < region.blocks.size(); ++i) before += region.blocks[i].plain_bytes;
  fault.where.offset = region.range.at.bytes + before;
  fault.seen += fmt::format("{}block {} of {}", fault.seen.empty() ? "" : ", ",
                            std::min(index + 1, region.blocks.size()), region.blocks.size());
  return fault;
}

}  // namespace

WriteFormat WriteFormat::of(Speaker speaker, const ChipSpec& chip) {
  if (speaker == Speaker::stub) return {};
  return {.block_size = 0x400, .five_words = chip.rom.deflate_begin_has_encrypted, .stub = false};
}

PreparedRegion::~PreparedRegion() {
  if (secret) wipe(frames);
}

std::uint64_t PreparedRegion::wire_bytes() const {
  std::uint64_t all = frames.size();
  for (const auto& part : parts) all += part->wire_bytes();
  return all;
}

namespace {

std::shared_ptr<PreparedRegion> frame_part(FlashOffset at, ByteView bytes, const WriteFormat& format, int level,
                                           bool secret) {
  auto region = std::make_shared<PreparedRegion>();
  region->secret = secret;
  region->format = format;
  region->range = {at, static_cast<std::uint32_t>(bytes.size())};
  region->md5 = md5_of(bytes);
  auto packed = format.encrypt ? std::nullopt : deflate(bytes, level);
  region->deflated = packed.has_value();
  Bytes plain;
  if (!packed) {
    plain.assign(bytes.begin(), bytes.end());
    plain.resize(round_up(region->range.size, 4), 0xff);
  }
  const Bytes& payload = packed ? *packed : plain;
  auto block_count = static_cast<std::uint32_t>((payload.size() + format.block_size - 1) / format.block_size);
  // Deflated, the ROM is told the erase size in whole blocks; plain, it erases what the blocks will cover.
  std::uint32_t erase_bytes = format.stub ? region->range.size : round_up(region->range.size, format.block_size);
  region->begin_body = words(erase_bytes, block_count, format.block_size, at.bytes);
  if (format.five_words) put_u32(region->begin_body, format.encrypt ? 1 : 0);

  Op op = packed ? Op::flash_defl_data : Op::flash_data;
  // Room for every byte escaped where it is a secret: growing would leave copies behind.
  region->frames.reserve((secret ? 2 : 1) * payload.size() + payload.size() / 64 + 64 * std::size_t{block_count});
  std::vector<std::uint32_t> ends;
  if (packed && !secret) ends = plain_ends(*packed, format.block_size);
  std::uint32_t plain_done = 0;
  for (std::uint32_t sequence = 0; sequence < block_count; ++sequence) {
    ByteView part = ByteView{payload}.subspan(std::size_t{sequence} * format.block_size);
    part = part.first(std::min<std::size_t>(part.size(), format.block_size));
    Bytes body = words(static_cast<std::uint32_t>(part.size()), sequence, 0, 0);
    body.reserve(16 + format.block_size);
    append(body, part);
    if (!packed && !format.stub) {  // the ROM wants whole blocks of plain data
      body.resize(16 + format.block_size, 0xff);
      set_u32(body, 0, format.block_size);
    }
    std::size_t from = region->frames.size();
    Bytes request = encode_request(op, body, checksum_of(ByteView{body}.subspan(16)));
    encode_slip_to(region->frames, request);
    if (secret) wipe(request);
    auto plain_end = static_cast<std::uint32_t>(std::uint64_t{region->range.size} * (sequence + 1) / block_count);
    if (!ends.empty()) plain_end = ends[sequence];
    region->blocks.push_back({from, region->frames.size() - from, plain_end - plain_done});
    plain_done = plain_end;
    if (secret) wipe(body);
  }
  if (secret) {
    wipe(plain);
    if (packed) wipe(*packed);
  }
  return region;
}

/// Where the bytes of one region go, and what stays blank.
struct Layout {
  std::vector<FlashRange> parts, blanks;
};

/// By blocks of 64 KiB, the pieces in which flash is erased quickest. A block that ends in 0xFF for long becomes a part
/// with its beginning alone: where its end turns out not to be blank the block is erased whole, and that part written
/// behind.
Layout lay_out(FlashRange region, ByteView bytes) {
  Layout out;
  bool open = false;  // the last part goes on into the next block
  for (std::uint32_t done = 0; done < region.size;) {
    const std::uint32_t at = region.at.bytes + done;
    const std::uint32_t size = std::min(flash_block - at % flash_block, region.size - done);
    std::uint32_t used = size;
    while (used > 0 && bytes[done + used - 1] == 0xff) --used;
    used = std::min(round_up(used, flash_sector), size);
    const bool sparse = size - used >= shortest_blank;
    if (!sparse && open) {
      out.parts.back().size += size;
    } else if (!sparse || used > 0) {
      out.parts.push_back({{at}, sparse ? used : size});
    }
    if (sparse) {
      if (used == 0 && !out.blanks.empty() && out.blanks.back().end() == at)
        out.blanks.back().size += size;
      else
        out.blanks.push_back({{at + used}, size - used});
    }
    open = !sparse;
    done += size;
  }
  return out;
}

std::shared_ptr<const PreparedRegion> frame_region(FlashOffset at, ByteView bytes, const WriteFormat& format, int level,
                                                   bool secret) {
  const FlashRange range{at, static_cast<std::uint32_t>(bytes.size())};
  Layout layout;
  // The ROM erases all of a region before the first byte of it and knows no other way.
  if (format.stub && at.bytes % flash_sector == 0) layout = lay_out(range, bytes);
  auto of = [&](FlashRange part) { return bytes.subspan(part.at.bytes - at.bytes, part.size); };
  std::shared_ptr<PreparedRegion> region;
  if (layout.blanks.empty()) {
    region = frame_part(at, bytes, format, level, secret);
  } else {
    region = std::make_shared<PreparedRegion>();
    region->secret = secret;
    region->format = format;
    region->range = range;
    region->md5 = md5_of(bytes);
    for (FlashRange part : layout.parts) region->parts.push_back(frame_part(part.at, of(part), format, level, secret));
    for (FlashRange blank : layout.blanks) {
      // A region may end within a sector, which no other can share with it.
      blank.size = round_up(blank.size, flash_sector);
      const std::uint32_t from = std::max(blank.at.bytes / flash_block * flash_block, at.bytes);
      const FlashRange erase{{from}, static_cast<std::uint32_t>(blank.end() - from)};
      region->blanks.push_back({blank, erase, md5_of(Bytes(blank.size, 0xff))});
    }
  }
  if (!secret) region->plain.assign(bytes.begin(), bytes.end());
  return region;
}

}  // namespace

std::shared_ptr<const PreparedRegion> prepare_region(FlashOffset at, ByteView bytes, const WriteFormat& format) {
  return frame_region(at, bytes, format, 12, false);
}

std::shared_ptr<const PreparedRegion> prepare_secret_region(FlashOffset at, ByteView bytes, const WriteFormat& format) {
  return frame_region(at, bytes, format, 6, true);
}

Result<void> can_work_on_flash(const Loader& loader) {
  if (loader.speaker() == Speaker::stub || !loader.chip() || loader.chip()->rom.has_flash_commands) return ok();
  Fault fault{Code::command_refused, Remedy::refuse,
              fmt::format("the ROM of the {} cannot prove what it writes", loader.chip()->title)};
  fault.seen = "it has no digest and reads nothing back";
  fault.advice =
      "Let the stub flasher do it: without --no-stub, and with its file in the stub folder (`espmint doctor`)";
  return fail(std::move(fault));
}

std::shared_ptr<const PreparedRegion> prepare_rest(const PreparedRegion& region, FlashOffset from) {
  return frame_region(from, ByteView{region.plain}.subspan(from.bytes - region.range.at.bytes), region.format, 6,
                      false);
}

namespace {

/// One block and its answer. One that the stub refuses for its checksum is sent again: it has looked at that before
/// anything else. The ROM takes no block after such a one (rom-protocol note 6), so there the fault rises.
Task<Result<Reply>> send_block(Loader& loader, Op data, ByteView frame, std::chrono::milliseconds budget) {
  for (int attempt = 1;; ++attempt) {
    auto answer = co_await loader.command_framed(data, frame, budget);
    const bool damaged = !answer && answer.error().code == Code::command_refused && loader.speaker() == Speaker::stub &&
                         answer.error().seen == describe_status(stub_checksum_wrong, Speaker::stub);
    if (!damaged || attempt == block_attempts) co_return answer;
  }
}

/// Whether the ends of this range are blank: on a board fresh from its reel all of it is, on a used one hardly any.
Task<Result<bool>> looks_blank(Loader& loader, FlashRange range) {
  static const Md5 blank = md5_of(Bytes(flash_sector, 0xff));
  CO_TRY(Md5 first, co_await flash_md5(loader, {range.at, flash_sector}));
  if (first != blank) co_return false;
  FlashRange end{{static_cast<std::uint32_t>(range.end()) - flash_sector}, flash_sector};
  CO_TRY(Md5 last, co_await flash_md5(loader, end));
  co_return last == blank;
}

// The stub's inflater hands on what it has in steps of its window, and may hold back a symbol.
constexpr std::uint32_t stub_window = 0x8000, inflater_slack = 0x200;
// How fast a stub with a raised clock computes digests; a slower one only keeps the block that follows waiting.
constexpr std::chrono::nanoseconds digest_of_a_byte{350};

/// What may be read back beside the next block: as much as takes the time of that block on the wire. 0: nothing.
std::uint32_t digest_beside_block(const Loader& loader, const PreparedRegion& region) {
  if (loader.speaker() != Speaker::stub || region.plain.empty() || !region.format.stub || !loader.takes_two_requests())
    return 0;
  const auto wire = std::chrono::nanoseconds{region.format.block_size * 10'000'000'000ull / loader.baud().per_second};
  return static_cast<std::uint32_t>(std::min<std::int64_t>(wire / digest_of_a_byte, 0x100'0000)) / stub_window *
         stub_window;
}

/// Sends a block while the stub reads back `done` and digests it. Its two buffers hold the two requests, provided that
/// it has finished with all before: a question that it answers when it has makes sure. Whether the digest was right.
Task<Result<bool>> send_block_beside_digest(Loader& loader, const PreparedRegion& region, FlashRange done, Op data,
                                            ByteView frame, std::chrono::milliseconds budget) {
  CO_TRY(co_await loader.read_reg(chip_magic_register));
  Bytes question = words(done.at.bytes, done.size, 0, 0);
  CO_TRY(co_await loader.send_frame(encode_request(Op::spi_flash_md5, question, 0)));
  CO_TRY(co_await loader.send_framed(frame));
  const Md5 wanted = md5_of(ByteView{region.plain}.subspan(done.at.bytes - region.range.at.bytes, done.size));
  const Duration on_the_wire = std::chrono::nanoseconds{frame.size() * 10'000'000'000ull / loader.baud().per_second};
  auto digested = co_await loader.answer_to(Op::spi_flash_md5, on_the_wire + budget_of(Op::spi_flash_md5, done.size));
  if (!digested && digested.error().code == Code::reply_missing) loader.keep_to_one_request();
  CO_TRY(Reply digest, std::move(digested));
  auto answer = co_await loader.answer_to(data, on_the_wire + budget);
  if (!answer && answer.error().code == Code::reply_missing) loader.keep_to_one_request();
  if (!answer && answer.error().code == Code::command_refused)
    answer = co_await send_block(loader, data, frame, budget);
  CO_TRY(std::move(answer));
  co_return parse_md5(digest.body) == wanted;
}

Task<Result<std::uint32_t>> write_part(Loader& loader, const PreparedRegion& region, Progress progress) {
  Op begin = region.deflated ? Op::flash_defl_begin : Op::flash_begin;
  Op data = region.deflated ? Op::flash_defl_data : Op::flash_data;
  // The ROM erases the whole region before it answers BEGIN, the stub as it goes.
  CO_TRY(co_await loader.command(begin, region.begin_body, 0, budget_of(begin, region.range.size)));
  bool late = loader.speaker() == Speaker::stub;
  std::uint32_t beside = digest_beside_block(loader, region), done = 0, proved = 0;
  // One frame in flight: the stub has two buffers and no way to say "wait".
  for (std::size_t i = 0; i < region.blocks.size(); ++i) {
    const auto& block = region.blocks[i];
    std::uint32_t working_on = block.plain_bytes + (i > 0 ? region.blocks[i - 1].plain_bytes : 0);
    const ByteView frame = ByteView{region.frames}.subspan(block.from, block.size);
    const auto budget = budget_of(data, working_on);
    const std::uint32_t on_flash = done > inflater_slack ? (done - inflater_slack) / stub_window * stub_window : 0;
    Result<void> end;
    if (beside != 0 && on_flash >= proved + beside) {
      const FlashRange unproved{{region.range.at.bytes + proved}, on_flash - proved};
      auto right = co_await send_block_beside_digest(loader, region, unproved, data, frame, budget);
      if (right && *right)
        proved = on_flash;
      else
        beside = 0;  // what is wrong shows at the end
      if (!right) end = fail(std::move(right.error()));
    } else {
      auto answer = co_await send_block(loader, data, frame, budget);
      if (!answer) end = fail(std::move(answer.error()));
    }
    if (!end) co_return fail(at_block(std::move(end.error()), region, i, late));
    done += block.plain_bytes;
    if (progress) progress(done);
  }
  if (loader.speaker() == Speaker::stub) {
    // Its answer is the fate of the last block. 1: stay, do not start the application.
    Op end = region.deflated ? Op::flash_defl_end : Op::flash_end;
    auto answer = co_await loader.command(end, words(1), 0, budget_of(data, 64_KiB));
    if (!answer) co_return fail(at_block(std::move(answer.error()), region, region.blocks.size(), late));
  }
  co_return proved;
}

}  // namespace

Task<Result<std::uint32_t>> write_region(Loader& loader, const PreparedRegion& region, Progress progress) {
  CO_TRY(can_work_on_flash(loader));
  if (region.blanks.empty()) co_return co_await write_part(loader, region, std::move(progress));
  for (const auto& blank : region.blanks) {
    CO_TRY(bool is_blank, co_await looks_blank(loader, blank.range));
    if (!is_blank) CO_TRY(co_await erase_region(loader, blank.erase));
  }
  for (const auto& part : region.parts) {
    // The blanks before it are done with it.
    const std::uint64_t before = part->range.at.bytes - region.range.at.bytes;
    Progress tell;
    if (progress) tell = [&progress, before](std::uint64_t done) { progress(before + done); };
    CO_TRY(co_await write_part(loader, *part, std::move(tell)));
  }
  if (progress) progress(region.range.size);
  co_return 0u;
}

Task<Result<bool>> erase_blanks(Loader& loader, const PreparedRegion& region) {
  bool found = false;
  for (const auto& blank : region.blanks) {
    CO_TRY(Md5 on_board, co_await flash_md5(loader, blank.range));
    if (on_board == blank.md5) continue;
    found = true;
    CO_TRY(co_await erase_region(loader, blank.range));
  }
  co_return found;
}

Task<Result<Md5>> flash_md5(Loader& loader, FlashRange range) {
  CO_TRY(can_work_on_flash(loader));
  Bytes body = words(range.at.bytes, range.size, 0, 0);
  CO_TRY(Reply reply, co_await loader.command(Op::spi_flash_md5, body, 0, budget_of(Op::spi_flash_md5, range.size)));
  auto md5 = parse_md5(reply.body);
  if (!md5)
    co_return fail({Code::reply_damaged,
                    Remedy::retry,
                    "the board's digest is not one",
                    {},
                    fmt::format("{} bytes", reply.body.size()),
                    {}});
  co_return *md5;
}

Task<Result<void>> erase_region(Loader& loader, FlashRange range) {
  CO_TRY(can_work_on_flash(loader));
  if (range.at.bytes % flash_sector != 0 || range.size % flash_sector != 0) {
    Fault fault{Code::usage, Remedy::refuse, "flash is erased in whole sectors of 4096 bytes"};
    fault.seen = fmt::format("offset {:#x}, size {:#x}", range.at.bytes, range.size);
    co_return fail(std::move(fault));
  }
  if (loader.speaker() == Speaker::stub) {
    CO_TRY(co_await loader.command(Op::erase_region, words(range.at.bytes, range.size), 0,
                                   budget_of(Op::erase_region, range.size)));
    co_return ok();
  }
  Bytes begin = words(range.size, range.size / 0x400, 0x400, range.at.bytes);
  if (loader.chip() && loader.chip()->rom.deflate_begin_has_encrypted) put_u32(begin, 0);
  CO_TRY(co_await loader.command(Op::flash_begin, begin, 0, budget_of(Op::flash_begin, range.size)));
  co_return ok();
}

Task<Result<void>> erase_chip(Loader& loader, std::uint32_t flash_size) {
  if (loader.speaker() == Speaker::rom) co_return co_await erase_region(loader, {{0}, flash_size});
  CO_TRY(co_await loader.command(Op::erase_flash, {}));
  co_return ok();
}

Task<Result<Bytes>> read_flash(Loader& loader, FlashRange range, Progress progress) {
  CO_TRY(can_work_on_flash(loader));
  Bytes out;
  out.reserve(range.size);
  if (loader.speaker() == Speaker::rom) {
    constexpr std::uint32_t most = 64;
    while (out.size() < range.size) {
      auto part = std::min<std::uint32_t>(most, range.size - static_cast<std::uint32_t>(out.size()));
      CO_TRY(Reply reply,
             co_await loader.command(Op::read_flash_slow,
                                     words(range.at.bytes + static_cast<std::uint32_t>(out.size()), part)));
      if (reply.body.size() < part)
        co_return fail({Code::reply_damaged,
                        Remedy::retry,
                        "the board sent too little flash",
                        {},
                        fmt::format("{} of {} bytes", reply.body.size(), part),
                        {}});
      append(out, ByteView{reply.body}.first(part));
      if (progress) progress(out.size());
    }
    co_return out;
  }
  constexpr std::uint32_t block = 0x1000, in_flight = 64;
  CO_TRY(co_await loader.command(Op::read_flash, words(range.at.bytes, range.size, block, in_flight)));
  while (out.size() < range.size) {
    CO_TRY(Bytes frame, co_await loader.receive_frame(std::chrono::seconds{3}));
    // The stub sends whole blocks and a rest. Anything else is damage, and fragments could come for hours.
    std::size_t expected = std::min<std::size_t>(block, range.size - out.size());
    if (frame.size() != expected) {
      Fault fault{Code::reply_damaged, Remedy::reconnect, "a block of flash came damaged"};
      fault.where.offset = range.at.bytes + out.size();
      fault.seen = fmt::format("{} bytes where {} were due", frame.size(), expected);
      fault.advice = "Read again at a lower --baud";
      co_return fail(std::move(fault));
    }
    append(out, frame);
    CO_TRY(co_await loader.send_frame(words(static_cast<std::uint32_t>(out.size()))));
    if (progress) progress(out.size());
  }
  CO_TRY(Bytes digest, co_await loader.receive_frame(std::chrono::seconds{3}));
  Md5 computed = md5_of(out);
  if (digest.size() != computed.size() || !std::equal(digest.begin(), digest.end(), computed.begin())) {
    Fault fault{Code::reply_damaged, Remedy::retry, "the flash was not read as the board sent it"};
    fault.seen = fmt::format("board MD5 {}, received MD5 {}", to_hex(digest), to_hex(computed));
    fault.advice = "Read again at a lower --baud";
    co_return fail(std::move(fault));
  }
  co_return out;
}

}  // namespace espmint
