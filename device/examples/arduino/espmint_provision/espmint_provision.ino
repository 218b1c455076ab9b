// Takes a key once over USB serial, then reads it from NVS and the identity from SPIFFS. Arduino-ESP32 3.x.
// Files of the identity: as the product's recipe names them.
#include <Arduino.h>
#include <Preferences.h>
#include <SPIFFS.h>
#include <esp_mac.h>
#include <espmint_device.h>
#include <nvs_flash.h>

namespace mint = espmint::device;

const char* const names[] = {"key1", "key2", "key3"};

class UsbLine final : public mint::SerialLine {
 public:
  void write(mint::View bytes) override { Serial.write(bytes.data, bytes.size); }
} line;

class Sketch final : public mint::Application {
 public:
  void restart() override {
    Serial.flush();
    ESP.restart();
  }
} sketch;

mint::NvsStorage storage(names, 3);
mint::Provisioner* provisioner = nullptr;
bool started = false;

void setup() {
  Serial.setRxBufferSize(2304);
  Serial.begin(115200);
  nvs_flash_init();
  mint::Options options;
  options.dialect = mint::Dialect::framed;  // or line, for stations that speak that
  options.names = names;
  options.fields = 3;
  options.firmware = "1.0.0";
  esp_efuse_mac_get_default(options.mac);
  static mint::Provisioner only(options, storage, line, sketch);
  provisioner = &only;
}

void start_work() {
  Preferences preferences;
  preferences.begin("provision", true);
  String key1 = preferences.getString("key1");
  preferences.end();
  if (!SPIFFS.begin(false)) return;  // false: never format what the station wrote
  File file = SPIFFS.open("/certificate.pem.crt");
  String certificate = file ? file.readString() : String();
  // key1 and certificate: for the network. Never print the key.
  Serial.printf("key of %u bytes, certificate of %u bytes\r\n", key1.length(), certificate.length());
}

void loop() {
  static uint8_t bytes[256];
  size_t count = 0;
  while (count < sizeof bytes && Serial.available() > 0) bytes[count++] = static_cast<uint8_t>(Serial.read());
  provisioner->receive(bytes, count);  // first what has come, then the time
  provisioner->poll(millis());
  if (!started && provisioner->state() != mint::State::unprovisioned) {
    started = true;
    start_work();
  }
}
