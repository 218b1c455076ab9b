// app/command_line.hpp: words to options to one call. What the words do lies in the *_commands files.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/ca_commands.hpp"
#include "app/cloud_commands.hpp"
#include "app/cloud_export_command.hpp"
#include "app/desk_commands.hpp"
#include "app/key_commands.hpp"
#include "app/line_commands.hpp"
#include "app/record_commands.hpp"
#include "app/settings.hpp"
#include "app/sim_cloud_command.hpp"
#include "app/sim_commands.hpp"

namespace espmint::app {

/// What every command takes, wherever on the line it is said.
struct Everywhere {
  SettingFlags flags;
  Voice voice;
};

class CommandLine {
 public:
  explicit CommandLine(std::string_view first_word);
  int run(int argc, char** argv);

 private:
  /// Output that never arrived is no success; a reader that went away wanted no more.
  [[nodiscard]] bool delivered() const;
  /// All commands, or those of the group that the first word names: making the rest is a tenth of a short command's
  /// time.
  void add_groups(std::string_view first_word);
  static std::string words_to(const CLI::App& command);  // "espmint flash write"
  /// Says which word was not understood, and which was probably meant.
  Exit misunderstood(const CLI::ParseError& error, const std::vector<std::string>& words);
  /// Flags of the program may stand behind any command's words.
  static void let_through(CLI::App& command);
  CLI::App* command(CLI::App& parent, const std::string& name, const std::string& does, const std::string& examples);
  CLI::App* noun(const std::string& name, const std::string& does);
  /// Runs `work` with the settings that hold by then.
  template <typename Work>
  void on(CLI::App* command, Work work) {
    command->callback([this, work] {
      auto settings = load_settings(all_.flags);
      exit_ = settings ? work(*settings) : report(settings.error(), all_.voice);
    });
  }

  // What boards are made with, and the desk (board_words.cpp)
  void add_port_options(CLI::App* command, bool many);
  static void add_cloud_options(CLI::App* command, CloudFlags& cloud);
  void add_line_options(CLI::App* command);
  void add_line();
  void add_demo();
  DeskOptions desk(const Settings& settings);
  void add_desk_options(CLI::App* command);
  void add_desk();
  void add_header_options(CLI::App* command, const std::string& mode_help);
  Exit with_parts(const Settings& settings, bool write);
  void add_monitor(CLI::App& board);

  // What was made, where it is registered, and what stands in for both (record_words.cpp)
  RecordOptions record(const Settings& settings) { return {settings, all_.voice, product_}; }
  void add_product_option(CLI::App* command);
  void add_records();
  void add_cloud_target(CLI::App* command, bool with_recipe);
  CloudCommand cloud_command(const Settings& settings);
  void add_cloud();
  void add_sim();

  void add_image();
  /// What shells and `man` know of this command line.
  void add_pages();

  CLI::App program_{"espmint: the production station for ESP32 products", "espmint"};
  Everywhere all_;
  LineCommand line_;
  KeyCommand keys_;
  CaCommand ca_;
  CloudExportCommand export_;
  CloudCommand cloud_;
  bool doctor_cloud_ = false;  // where the flag was given
  DemoCommand demo_;
  DeskOptions desk_;
  WriteOptions write_;
  MonitorOptions monitor_;
  SelftestWords selftest_;
  SimBoardCommand sim_;
  SimFirmwareCommand simfw_;
  SimReadCommand simread_;
  SimCloudCommand simcloud_;
  std::string build_, out_, offset_, size_, file_, id_, name_, product_;
  std::vector<std::string> words_;
  bool once_ = false, download_ = false, whole_ = false, force_erase_ = false, failed_ = false, csv_ = false;
  Exit exit_ = Exit::good;
};

}  // namespace espmint::app
