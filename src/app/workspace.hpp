// app/workspace.hpp: where this program keeps things, and how commands open them: state folder, CA, ledgers, stubs,
// files.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "app/settings.hpp"
#include "identity/local_ca.hpp"
#include "ledger/ledger.hpp"
#include "recipe/folder.hpp"
#include "rom/stub.hpp"

namespace espmint::app {

std::filesystem::path ca_folder(const Settings&);
/// The name under which a product's folder and ledger are kept: what is no letter, digit, dash or dot becomes a dash.
std::string product_key(const std::string& product);
std::filesystem::path product_folder(const Settings&, const std::string& product);
/// Products that have a ledger here, by name.
std::vector<std::string> products(const Settings&);

/// The CA; made on the first run. `made` says whether it was.
Result<LocalCa> open_or_make_ca(const Settings&, WallTime now, bool& made);

/// Reads the stubs that the data folder has; none is a fact, not a fault.
StubLibrary load_stubs(const Settings&);
/// The folder that load_stubs reads; empty where there is none.
std::filesystem::path stub_folder(const Settings&);

/// "pid 4711 on line-3: espmint run"
std::string holder_note(const std::string& command);

/// The product whose ledger a command means: the named one, or the only one. Fault usage lists them.
Result<std::string> choose_product(const Settings&, const std::string& named);
Result<std::unique_ptr<Ledger>> open_ledger_to_read(const Settings&, const std::string& product, const Clock&);

/// Files of this machine, for recipes and firmware sets.
class RealFolder final : public Folder {
 public:
  explicit RealFolder(std::filesystem::path base = ".") : base_(std::move(base)) {}
  Result<Bytes> read(const std::string& path) const override;
  bool exists(const std::string& path) const override;
  bool is_folder(const std::string& path) const override;
  std::vector<std::string> list(const std::string& path) const override;

 private:
  std::filesystem::path base_;
};

}  // namespace espmint::app
