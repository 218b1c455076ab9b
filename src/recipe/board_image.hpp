// recipe/board_image.hpp: one board's image of a partition: from the plan's templates to bytes, and from what a board
// holds back to whether it is that. Pure; what lies in files and on the board is handed in.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <span>

#include "recipe/folder.hpp"
#include "recipe/words.hpp"

namespace espmint {

/// Bytes of the files that templates name, by path.
using DiskFiles = std::map<std::string, Bytes>;
/// Every file of the plan, those that all boards share as the plan read them, for the board with these values
/// (certificate and key are not needed yet). Faults: those of the folder, naming the file; nothing was written then.
Result<DiskFiles> read_disk_files(const Plan&, const BoardValues&, const Folder&);

/// Partitions as they were read from a board: the image's, and that of its NVS keys where it has one.
struct OnBoard {
  Secret image, keys;
};

/// What one partition gets. It may hold secrets, all of it.
struct BoardRegion {
  FlashRange range;
  Secret bytes;
};

/// The image, and the NVS keys where the plan has them: `fresh_keys` are 64 random bytes for a board that has none.
/// With `keep`, `there` is what the board holds. Faults: image_no_space, image_invalid, recipe_invalid; image_invalid
/// (refuse) also where what is to be kept cannot be read whole.
Result<std::vector<BoardRegion>> build_board_image(const ImagePlan&, const BoardValues&, const DiskFiles&,
                                                   const Secret& fresh_keys, const OnBoard& there);

/// Where the identity that a board holds is not the one that its values say: a sentence that quotes none of them;
/// nothing where it is. Every file and entry of the plan must be there; those that say who the board is must be as they
/// were written. Wi-Fi and the like may be others by now, and what the firmware has written beside it does not count.
/// `values` has no private key, before and after: whether one that lies on the board is its own `is_its_key` says.
std::optional<std::string> difference_on_board(const ImagePlan&, BoardValues& values, const DiskFiles&, const OnBoard&,
                                               const std::function<bool(const Secret& pem)>& is_its_key);

/// Files and entries of an image that a firmware brings.
struct BroughtImage {
  std::vector<FileOwned> files;
  std::vector<NvsEntry> entries;
};
/// Any bytes, by the format and geometry of the plan. Fault image_invalid.
Result<BroughtImage> read_image(ByteView image, ImageFormat, const ImageGeometry&);

}  // namespace espmint
