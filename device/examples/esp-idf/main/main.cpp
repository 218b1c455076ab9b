// Takes a key once over UART0, then reads it from NVS and the identity from SPIFFS. ESP-IDF 5.
// Files of the identity: as the product's recipe names them.
#include <cstdio>

#include "driver/uart.h"
#include "esp_mac.h"
#include "esp_spiffs.h"
#include "esp_system.h"
#include "esp_timer.h"
#include "espmint_device.hpp"
#include "espmint_esp_idf.hpp"
#include "nvs_flash.h"

namespace mint = espmint::device;

namespace {

constexpr const char* names[] = {"key1", "key2", "key3"};
constexpr std::size_t fields = 3;

class App final : public mint::Application {
 public:
  void restart() override {
    uart_wait_tx_done(UART_NUM_0, pdMS_TO_TICKS(100));
    esp_restart();
  }
  std::size_t selftest(mint::SelftestValue* into, std::size_t) override {
    into[0] = {"heap_bytes", static_cast<std::int32_t>(esp_get_free_heap_size())};
    return 1;
  }
};

void start_work(mint::Storage& storage) {
  std::uint8_t key1[mint::max_field_bytes];
  int key_bytes = storage.read(0, key1);
  esp_vfs_spiffs_conf_t mount = {};
  mount.base_path = "/spiffs";
  mount.partition_label = "storage";
  mount.max_files = 2;
  mount.format_if_mount_failed = false;  // never format what the station wrote
  if (esp_vfs_spiffs_register(&mount) != ESP_OK) return;
  static char certificate[2048];
  std::size_t size = 0;
  if (std::FILE* file = std::fopen("/spiffs/certificate.pem.crt", "r")) {
    size = std::fread(certificate, 1, sizeof certificate, file);
    std::fclose(file);
  }
  // key1 and certificate: for the network. Never print the key.
  std::printf("key of %d bytes, certificate of %u bytes\n", key_bytes, static_cast<unsigned>(size));
}

}  // namespace

extern "C" void app_main() {
  ESP_ERROR_CHECK(nvs_flash_init());  // a fault here is the station's to see: nothing is erased
  ESP_ERROR_CHECK(uart_driver_install(UART_NUM_0, 4096, 0, 0, nullptr, 0));

  mint::Options options;
  options.dialect = mint::Dialect::framed;  // or line, for stations that speak that
  options.names = names;
  options.fields = fields;
  options.firmware = "1.0.0";
  ESP_ERROR_CHECK(esp_efuse_mac_get_default(options.mac));

  static App app;
  static mint::UartLine uart{UART_NUM_0};
  static mint::NvsStorage storage{names, fields};
  static mint::Provisioner provisioner{options, storage, uart, app};
  bool started = false;
  for (;;) {
    std::uint8_t bytes[256];
    provisioner.receive(bytes, uart.read(bytes, sizeof bytes));  // first what has come, then the time
    provisioner.poll(static_cast<std::uint32_t>(esp_timer_get_time() / 1000));
    if (!started && provisioner.state() != mint::State::unprovisioned) {
      started = true;
      start_work(storage);
    }
  }
}
