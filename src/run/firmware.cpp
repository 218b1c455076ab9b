#include "run/firmware.hpp"

#include "image/app_image.hpp"

namespace espmint {

Task<> FirmwarePreparer::prepare(WriteFormat format) {
  if (auto there = common_.find(format); there != common_.end()) {
    auto waited_for = there->second;
    co_await waited_for->ready.wait();
    co_return;
  }
  auto common = std::make_shared<Common>();
  common_.emplace(format, common);
  for (const PlannedRegion& region : plan_.regions) {
    if (region.kind == PlannedRegion::Kind::bootloader) {
      common->regions.push_back(nullptr);
      continue;
    }
    auto work = [at = region.at, bytes = region.bytes, format] { return prepare_region(at, *bytes, format); };
    common->regions.push_back(co_await on_pool(pool_, std::move(work)));
  }
  common->ready.set();
}

Task<Result<std::shared_ptr<const PreparedFirmware>>> FirmwarePreparer::for_board(WriteFormat format,
                                                                                  std::uint32_t flash_size) {
  co_await prepare(format);
  auto key = std::pair{format, flash_size};
  if (auto there = done_.find(key); there != done_.end()) co_return there->second;
  auto common = common_.at(format);
  auto firmware = std::make_shared<PreparedFirmware>();
  for (std::size_t i = 0; i < plan_.regions.size(); ++i) {
    const PlannedRegion& region = plan_.regions[i];
    auto prepared = common->regions[i];
    if (!prepared) {
      CO_TRY(Bytes patched, with_flash_size(*region.bytes, flash_size));
      auto work = [at = region.at, bytes = std::move(patched), format] { return prepare_region(at, bytes, format); };
      prepared = co_await on_pool(pool_, std::move(work));
    }
    firmware->bytes += prepared->range.size;
    firmware->regions.push_back(std::move(prepared));
    firmware->labels.push_back(region.label);
  }
  done_.emplace(key, firmware);
  co_return std::shared_ptr<const PreparedFirmware>{firmware};
}

}  // namespace espmint
