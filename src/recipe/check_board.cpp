#include <fmt/format.h>

#include "recipe/checks.hpp"

namespace espmint {
namespace {

Revision revision_of(unsigned full) { return {full / 100, full % 100}; }

Result<void> check_range(const RevisionRange& range, const std::string& file, const ChipSpec& board, unsigned full) {
  bool too_old = full < range.oldest;
  if (!too_old && (!range.newest || full <= *range.newest)) return ok();
  Fault fault{Code::chip_mismatch, Remedy::refuse,
              fmt::format("{} needs {} revision {} or {}, this board is {}", file, board.title,
                          to_string(revision_of(too_old ? range.oldest : *range.newest)), too_old ? "newer" : "older",
                          to_string(revision_of(full)))};
  fault.advice =
      fmt::format("Nothing was written; use {} boards, or set the {} supported chip revision in menuconfig and rebuild",
                  too_old ? "newer" : "older", too_old ? "minimum" : "maximum");
  return fail(std::move(fault));
}

}  // namespace

Result<void> check_revision(const Plan& plan, unsigned revision_full) {
  for (const PlannedRegion& region : plan.regions)
    TRY(check_range(region.revisions, region.source, *plan.chip, revision_full));
  return ok();
}

Result<void> check_image_for_board(const AppImage& image, const std::string& file, bool is_bootloader,
                                   const ChipSpec& board, unsigned revision_full) {
  if (image.chip_id != board.image_chip_id) {
    std::string name{image_chip_name(image.chip_id)};
    if (name.empty()) return ok();
    if (const ChipSpec* known = chip_with_image_id(image.chip_id)) name = known->title;
    return fail({Code::chip_mismatch,
                 Remedy::refuse,
                 fmt::format("{} is for {}, this board is {}", file, name, board.title),
                 {},
                 {},
                 "Nothing was written; plug in the right board, or build for this chip"});
  }
  RevisionRange range = revisions_of(image);
  // An app is asked for a newest revision by the bootloader, the bootloader by nobody.
  if (is_bootloader) range.newest.reset();
  return check_range(range, file, board, revision_full);
}

}  // namespace espmint
