// The words of records, CA, keys and clouds, and of what stands in for them.
#include "app/command_line.hpp"
#include "sim/make_firmware.hpp"
#include "sim/symptoms.hpp"

namespace espmint::app {

void CommandLine::add_product_option(CLI::App* command) {
  command->add_option("--product", product_, "Whose ledger (default: the only one)");
}

void CommandLine::add_records() {
  auto* device = noun("device", "What was made");
  auto* list = command(*device, "list", "All devices", "  espmint device list --failed\n");
  add_product_option(list);
  list->add_flag("--failed", failed_, "Boards whose last run did not end VERIFIED, with the cause");
  on(list, [this](const Settings& settings) { return device_list(record(settings), failed_); });
  auto* show = command(*device, "show", "One device", "  espmint device show 24d7eb123456\n");
  add_product_option(show);
  show->add_option("id", id_, "Device id or MAC")->required();
  on(show, [this](const Settings& settings) { return device_show(record(settings), id_); });
  auto* exported =
      command(*device, "export", "All devices as CSV or JSON lines, or one device's files",
              "  espmint device export --csv > made.csv\n  espmint device export 24d7eb123456 --files folder\n");
  add_product_option(exported);
  exported->add_option("id", id_, "Device whose files are wanted");
  exported->add_flag("--csv", csv_, "CSV");
  exported->add_option("--files", file_, "Folder for certificate.pem.crt, public.pem.key, aws-root-ca.pem");
  on(exported, [this](const Settings& settings) {
    if (id_.empty() != file_.empty())
      return report({Code::usage, Remedy::refuse, "one device's files need both: ID and --files DIR", {}, {}, {}},
                    all_.voice);
    if (!id_.empty()) return device_export_files(record(settings), id_, file_);
    if (!csv_ && !all_.voice.json)
      return report({Code::usage, Remedy::refuse, "say --csv or --json", {}, {}, {}}, all_.voice);
    return device_export(record(settings), csv_);
  });
  auto* revoke_board =
      command(*device, "revoke", "A board's certificates INACTIVE and off everything at the cloud; its thing stays",
              "  espmint device revoke 24d7eb123456 --dry-run\n  espmint device revoke 24d7eb123456\n");
  revoke_board->add_option("id", cloud_.device, "Device id or MAC")->required();
  add_cloud_target(revoke_board, false);
  revoke_board->add_flag("--dry-run", cloud_.dry_run, "Print the exact calls, make none of them");
  revoke_board->add_flag("--force", cloud_.force,
                         "Also certificates that other things use, and boards that no ledger knows");
  on(revoke_board, [this](const Settings& settings) { return device_revoke(cloud_command(settings)); });

  auto* ca = noun("ca", "The local certificate authority");
  auto* init =
      command(*ca, "init", "Make one (the first run does it by itself)", "  espmint ca init --name \"Acme devices\"\n");
  init->add_option("--name", name_, "Its common name");
  init->add_option("--crl-url", ca_.url, "Where its revocation list will be served: EMQX looks there (http://…)");
  on(init, [this](const Settings& settings) { return ca_init(record(settings), name_, ca_.url); });
  on(command(*ca, "show", "Where it is, how long it lasts", "  espmint ca show --json\n"),
     [this](const Settings& settings) { return ca_show(record(settings)); });
  auto* revoke =
      command(*ca, "revoke", "Take a device's certificate back, and write the revocation list anew",
              "  espmint ca revoke 24d7eb123456 --reason key-compromise\n  espmint cloud export mosquitto -o broker\n");
  revoke->add_option("subject", ca_.subject, "Device id, MAC, or a certificate's SHA-256 (64 hex digits)")->required();
  revoke->add_option("--reason", ca_.reason,
                     "unspecified, key-compromise, superseded, cessation-of-operation, privilege-withdrawn");
  revoke->add_option("--product", ca_.product, "Only what this product's ledger has (default: every product's)");
  auto* crl =
      command(*ca, "crl", "Write the revocation list (PEM)",
              "  espmint ca crl -o ca.crl.pem\n  espmint ca crl --url http://pki.example.com/ca.crl --der -o ca.crl\n");
  crl->add_option("-o,--out", ca_.out, "File to write (standard output)");
  crl->add_option("--url", ca_.url, "Where it will be served: its Issuing Distribution Point, which EMQX wants");
  crl->add_flag("--der", ca_.der, "DER instead of PEM");
  for (CLI::App* one : {revoke, crl})
    one->add_option("--days", ca_.days, "Until the next list must be there (30)")->check(CLI::Range(1, 3650));
  auto* issue = command(
      *ca, "issue", "A certificate for a request: of a chip that keeps its key, or of a broker",
      "  espmint ca issue --csr board.csr -o board.pem\n  espmint ca issue --server --csr broker.csr -o server.pem\n");
  issue->add_option("--csr", ca_.csr, "PKCS #10, PEM or DER; its CN is the device id")->required();
  issue->add_option("-o,--out", ca_.out, "File to write (standard output)");
  issue->add_flag("--server", ca_.server, "For a broker: the CN is the host name or address by which boards reach it");
  using CaVerb = Exit (*)(const CaCommand&);
  for (auto [verb, does] : {std::pair<CLI::App*, CaVerb>{revoke, ca_revoke}, {crl, ca_crl}, {issue, ca_issue}})
    on(verb, [this, does = does](const Settings& settings) {
      ca_.settings = settings;
      ca_.voice = all_.voice;
      return does(ca_);
    });

  auto* keys = noun("keys", "The pool of one-time keys");
  auto* keys_in =
      command(*keys, "import", "Read a keys.csv into the pool and mark its rows (a run does it by itself)",
              "  espmint keys import keys.csv --product thermostat\n  espmint keys import --first-unmarked-unused\n");
  keys_in->add_option("file", keys_.file, "keys.csv");
  keys_in->add_flag("--first-unmarked-unused", keys_.first_unmarked_unused,
                    "The first row that an earlier script left unmarked was never sent to a board: use it");
  auto* pool_status =
      command(*keys, "status", "How many keys are left, and which are in doubt", "  espmint keys status --json\n");
  auto* keys_out = command(*keys, "export", "Every key's number, state and device; never the key",
                           "  espmint keys export > keys-state.csv\n");
  auto* release = command(*keys, "release", "Give a quarantined key to its own board once more",
                          "  espmint keys release 17 --why \"firmware mended\"\n");
  auto* retire = command(*keys, "retire", "Never use a key; two people answer for it",
                         "  espmint keys retire 17 --by ann --by bob --why scrapped\n");
  for (CLI::App* one : {release, retire}) {
    one->add_option("key", keys_.number, "Its number")->required();
    one->add_option("--why", keys_.why, "For the audit");
  }
  retire->add_option("--by", keys_.by, "Who answers; twice");
  using Verb = Exit (*)(const KeyCommand&);
  for (auto [verb, does] : {std::pair<CLI::App*, Verb>{keys_in, keys_import},
                            {pool_status, keys_status},
                            {keys_out, keys_export},
                            {release, keys_release},
                            {retire, keys_retire}}) {
    add_product_option(verb);
    on(verb, [this, does = does](const Settings& settings) {
      keys_.record = record(settings);
      return does(keys_);
    });
  }

  auto* audit = noun("audit", "Proof");
  auto* verify = command(*audit, "verify", "Check every row of the audit chain", "  espmint audit verify\n");
  add_product_option(verify);
  on(verify, [this](const Settings& settings) { return audit_verify(record(settings)); });
  auto* doctor_command = command(
      program_, "doctor", "What is wrong with this machine, line or account, with the mend (exit 0 clean, 1 findings)",
      "  espmint doctor --json\n  AWS_PROFILE=admin espmint doctor --cloud --fix\n");
  doctor_command->add_option("--product", cloud_.product,
                             "Whose ledger is compared with the cloud (default: every one)");
  auto* cloud_flag =
      doctor_command->add_flag("--cloud,!--no-cloud", doctor_cloud_,
                               "Only, or not, how ledger and cloud differ (default: all, as far as it can be asked)");
  doctor_command->add_flag("--fix", cloud_.fix, "Mend at the cloud what is provably ours and nobody's");
  doctor_command->add_flag("--dry-run", cloud_.dry_run,
                           "With --fix: print the calls, make none that changes something");
  add_cloud_options(doctor_command, cloud_.cloud);
  on(doctor_command, [this, cloud_flag](const Settings& settings) {
    return doctor(cloud_command(settings), cloud_flag->count() > 0 ? std::optional{doctor_cloud_} : std::nullopt);
  });
}

void CommandLine::add_cloud_target(CLI::App* command, bool with_recipe) {
  if (with_recipe)
    command->add_option("recipe", cloud_.recipe,
                        "recipe.toml or its folder (default: here, else what the last run remembered)");
  command->add_option("--product", cloud_.product, "Whose ledger (default: the recipe's, else the only one)");
  add_cloud_options(command, cloud_.cloud);
}

CloudCommand CommandLine::cloud_command(const Settings& settings) {
  cloud_.settings = settings;
  cloud_.voice = all_.voice;
  return cloud_;
}

void CommandLine::add_cloud() {
  auto* cloud = noun("cloud", "Where boards are registered");
  auto* setup = command(
      *cloud, "setup", "Policy and thing type that a product's boards share, at AWS IoT; needs the admin's keys",
      "  AWS_PROFILE=admin espmint cloud setup --dry-run\n  AWS_PROFILE=admin espmint cloud setup thermostat/\n");
  add_cloud_target(setup, true);
  setup->add_flag("--dry-run", cloud_.dry_run, "Print the calls and make none that changes something");
  on(setup, [this](const Settings& settings) { return cloud_setup(cloud_command(settings)); });
  auto* check = command(*cloud, "check", "Credentials, clock, region, permissions, quotas: whether a line would run",
                        "  espmint cloud check thermostat/\n");
  add_cloud_target(check, true);
  on(check, [this](const Settings& settings) { return cloud_check(cloud_command(settings)); });
  auto* sync = command(*cloud, "sync", "Tell the cloud of the boards that it has not heard of yet",
                       "  espmint cloud sync\n  espmint cloud sync --dry-run\n");
  add_cloud_target(sync, true);
  sync->add_flag("--dry-run", cloud_.dry_run, "List what is to be told");
  on(sync, [this](const Settings& settings) { return cloud_sync(cloud_command(settings)); });
  auto* exported = command(*cloud, "export", "Files for those who enrol elsewhere; nothing is called",
                           "  espmint cloud export mosquitto -o broker\n"
                           "  espmint cloud export bulk --thing-type thermostat --attribute owner=line-3 -o aws\n");
  exported->add_option("kind", export_.kind, "bulk, jitp (AWS IoT), azure-dps, thingsboard, mosquitto, emqx")
      ->required();
  exported->add_option("-o,--out", export_.folder, "Folder for the files; it is made")->required();
  exported->add_option("--product", export_.product, "Whose ledger (default: the only one)");
  exported->add_option("--prefix", export_.prefix, "Beginning of a board's topics (the product's name)");
  exported->add_option("--listen", export_.listen, "[ADDRESS:]PORT of the broker (8883)");
  exported->add_option("--policy", export_.policy, "Policy of AWS IoT (PRODUCT-device)");
  exported->add_option("--thing-type", export_.thing_type, "Thing type of AWS IoT");
  auto take_all = [](CLI::Option* option) {
    option->allow_extra_args(false)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  };
  take_all(exported->add_option("--attribute", export_.attributes, "NAME=VALUE of each thing; may be said again"));
  take_all(exported->add_option("--group", export_.groups, "Thing group; may be said again"));
  exported->add_option("--role-arn", export_.role_arn, "Role that AWS IoT registers with");
  on(exported, [this](const Settings& settings) {
    export_.settings = settings;
    export_.voice = all_.voice;
    return cloud_export(export_);
  });
}

void CommandLine::add_sim() {
  auto* sim = noun("sim", "Virtual boards and a virtual cloud for rehearsal");
  auto* board = command(*sim, "board", "Run virtual boards until interrupted; one JSON line each",
                        "  espmint sim board --count 4 --json\n  espmint sim board --preset classic --dirty\n"
                        "  espmint sim board --symptom brown-out\n");
  board->add_option("--count", sim_.count, "How many (1)")->check(CLI::Range(1, 1024));
  board->add_option("--chip", sim_.chip, "esp32, esp32s2, …: every chip that is played");
  board->add_option("--revision", sim_.revision, "Of the chip: 3.1");
  board->add_option("--crystal", sim_.crystal_mhz, "MHz, where the chip takes several")->check(CLI::Range(20, 60));
  board->add_flag("--secure-boot", sim_.secure_boot, "Burnt: only a signed bootloader boots");
  board->add_flag("--flash-encryption", sim_.flash_encryption, "Burnt: nothing written in clear boots");
  board->add_flag("--secure-download", sim_.secure_download, "Burnt: the ROM writes flash and does little else");
  board->add_option("--hmac-key", sim_.hmac_key, "Burnt: 32 bytes from this file, for encrypted NVS");
  board->add_option("--flash-size", sim_.flash_size, "4MB");
  board->add_option("--preset", sim_.preset, "Times of flash and wire: fast, classic, no-boost, instant, …");
  board->add_option("--seed", sim_.seed, "Of MACs and faults");
  board->add_flag("--dirty", sim_.dirty, "Flash holds old bytes");
  board->add_option("--vanish", sim_.vanish_ms, "Native USB: the port vanishes for so many milliseconds at every reset")
      ->check(CLI::Range(1, 60'000));
  board->add_option("--symptom", sim_.symptom, "What is wrong with them: " + sim::symptom_names());
  board->add_option("--dir", sim_.folder, "Folder for flash files and links (default: temporary)");
  board->callback([this] {
    sim_.voice = all_.voice;
    exit_ = sim_board(sim_);
  });
  auto* firmware =
      command(*sim, "firmware", "Write a deterministic ESP-IDF-shaped build folder", "  espmint sim firmware build\n");
  firmware->add_option("folder", simfw_.folder, "Where")->required();
  firmware->add_option("--chip", simfw_.chip, "esp32, esp32s2, …: every chip that is played");
  firmware->add_option("--app-size", simfw_.app_size, "1MB");
  firmware->add_option("--storage-size", simfw_.storage_size, "Of the partition for the identity (64K)");
  firmware->add_option("--app", simfw_.app,
                       "What the board does: challenge, old3, old5, device-line, device-framed, forgetful, mute, "
                       "framed-forgetful, framed-other, framed-stranger");
  std::string kinds;
  for (std::string_view kind : sim::all_identity_kinds()) kinds += (kinds.empty() ? "" : ", ") + std::string{kind};
  firmware->add_option("--identity", simfw_.identity, "Where the identity is to lie: " + kinds);
  firmware->add_option("--seed", simfw_.seed, "Of the bytes");
  firmware->callback([this] {
    simfw_.voice = all_.voice;
    exit_ = sim_firmware(simfw_);
  });
  auto* read = command(*sim, "read", "What a virtual board's own readers find in its flash: names, sizes, SHA-256",
                       "  espmint sim read board0.flash --json\n");
  read->add_option("file", simread_.file, "The whole flash")->required();
  read->add_option("--hmac-key", simread_.hmac_key, "32 bytes, as burnt into the board, for encrypted NVS");
  read->callback([this] {
    simread_.voice = all_.voice;
    exit_ = sim_read(simread_);
  });
  auto* cloud =
      command(*sim, "cloud", "Run a virtual AWS IoT until interrupted; one JSON line with address and keys",
              "  espmint sim cloud --port 8088\n  espmint sim cloud --fault cut-after=0.05 --fault rate=aws\n");
  cloud->add_option("--port", simcloud_.port, "Of 127.0.0.1 (any)")->check(CLI::Range(0, 65'535));
  cloud->add_option("--region", simcloud_.region, "eu-central-1");
  cloud->add_option("--seed", simcloud_.seed, "Of keys, names and faults");
  cloud->add_option("--fault", simcloud_.faults, "cut-after=0.05, cut-after@2:CreateThing, rate=aws, outage=60..120, …")
      ->take_all();
  cloud->add_option("--latency", simcloud_.latency_ms, "Of a call, ms (0)")->check(CLI::Range(0, 60'000));
  cloud->add_option("--detach", simcloud_.detach_ms, "Until what was detached is gone, ms (3000)")
      ->check(CLI::Range(0, 300'000));
  cloud->add_option("--data-endpoint", simcloud_.data_endpoint, "The broker's name that it tells");
  cloud->add_option("--station-policy", simcloud_.station_policy, "The second key's rights: a file with an IAM policy");
  cloud->add_option("--dir", simcloud_.folder, "Folder for the CA's file (default: temporary)");
  cloud->add_option("--state-file", simcloud_.state_file,
                    "Goes on from this file where it is there, is kept in it at the end");
  cloud->callback([this] {
    simcloud_.voice = all_.voice;
    exit_ = sim_cloud(simcloud_);
  });
}

}  // namespace espmint::app
