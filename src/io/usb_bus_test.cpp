// A machine's USB as folders and a log: what a person is told when a board is plugged in and no port appears.
#include "io/usb_bus.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include "io/kernel_log.hpp"
#include "io/test_folder.hpp"

namespace espmint {
namespace {

namespace fs = std::filesystem;

/// sys/, proc/ and run/ of an invented machine.
struct Machine {
  TestFolder root;
  std::string log;

  void write(const std::string& file, const std::string& text) {
    fs::create_directories((root / file).parent_path());
    std::ofstream(root / file) << text << '\n';
  }
  void link(const std::string& name, const std::string& to) {
    fs::create_directories((root / name).parent_path());
    fs::create_symlink(to, root / name);
  }
  std::string device(const std::string& place, const std::string& vendor, const std::string& product,
                     const std::string& name = {}) {
    const std::string at = "sys/bus/usb/devices/" + place;
    write(at + "/idVendor", vendor);
    write(at + "/idProduct", product);
    if (!name.empty()) write(at + "/product", name);
    write(at + "/bDeviceClass", "00");
    write(at + "/bConfigurationValue", "1");
    write(at + "/bmAttributes", "80");
    write(at + "/bMaxPower", "100mA");
    write(at + "/busnum", "1");
    write(at + "/devnum", "5");
    fs::create_directories(root / (at + ":1.0"));
    return at;
  }
  void hub(const std::string& place, const std::string& attributes) {
    device(place, "05e3", "0608");
    write("sys/bus/usb/devices/" + place + "/bDeviceClass", "09");
    write("sys/bus/usb/devices/" + place + "/bmAttributes", attributes);
  }
  void driver(const std::string& interface, const std::string& name) {
    link("sys/bus/usb/devices/" + interface + "/driver", "../../../../bus/usb/drivers/" + name);
  }
  void process(int pid, const std::string& command) { write("proc/" + std::to_string(pid) + "/comm", command); }

  std::vector<Fault> faults() const {
    return usb_faults({root.path(), [this] { return log; }});
  }
  Fault only_fault() const {
    auto all = faults();
    EXPECT_EQ(all.size(), 1u);
    return all.empty() ? Fault{Code::internal, Remedy::refuse, "none"} : all.front();
  }
};

bool says(const Fault& fault, std::string_view words) { return describe(fault).find(words) != std::string::npos; }

TEST(UsbBus, HasNothingToSayOfAPortThatIsThere) {
  Machine pc;
  pc.device("1-4", "10c4", "ea60", "CP2102N");
  pc.driver("1-4:1.0", "cp210x");
  fs::create_directories(pc.root / "sys/bus/usb/devices/1-4:1.0/ttyUSB0");
  pc.device("1-5", "303a", "1001");
  pc.driver("1-5:1.0", "cdc_acm");
  fs::create_directories(pc.root / "sys/bus/usb/devices/1-5:1.0/tty/ttyACM0");
  pc.device("1-6", "046d", "c31c", "USB Keyboard");
  pc.process(812, "brltty");
  EXPECT_TRUE(pc.faults().empty());
  EXPECT_TRUE(Machine{}.faults().empty()) << "a machine without USB";
}

TEST(UsbBus, NamesTheDriverThatIsMissing) {
  Machine pc;
  pc.device("1-4", "10c4", "ea60", "CP2102N USB to UART Bridge Controller");
  Fault fault = pc.only_fault();
  EXPECT_EQ(fault.code, Code::driver_missing);
  EXPECT_EQ(fault.where.slot, "usb 1-4");
  EXPECT_TRUE(says(fault, "a CP2102N USB to UART Bridge Controller is plugged in but has no driver"))
      << describe(fault);
  EXPECT_TRUE(says(fault, "sudo modprobe cp210x")) << describe(fault);
}

TEST(UsbBus, NamesAWrongDriver) {
  Machine pc;
  pc.device("1-4", "1a86", "7523");
  pc.driver("1-4:1.0", "generic_hid");
  Fault fault = pc.only_fault();
  EXPECT_EQ(fault.code, Code::driver_missing);
  EXPECT_TRUE(says(fault, "generic_hid")) << describe(fault);
  EXPECT_TRUE(says(fault, "It needs ch341")) << describe(fault);
}

TEST(UsbBus, KnowsThatBrlttyUnboundTheDriver) {
  Machine by_process;
  by_process.device("1-4.2", "1a86", "7523", "USB Serial");
  by_process.write("sys/module/ch341/refcnt", "0");
  by_process.process(812, "brltty");
  Fault fault = by_process.only_fault();
  EXPECT_EQ(fault.code, Code::port_claimed);
  EXPECT_TRUE(says(fault, "brltty has taken the USB Serial")) << describe(fault);
  EXPECT_TRUE(says(fault, "sudo apt remove brltty")) << describe(fault);

  Machine by_log;
  by_log.device("1-4.2", "1a86", "7523", "USB Serial");
  by_log.log = "[ 2899.502800] usb 1-4.2: usbfs: interface 0 claimed by ch341 while 'brltty' sets config #1\n";
  EXPECT_EQ(by_log.only_fault().code, Code::port_claimed);

  Machine by_handle;
  by_handle.device("1-4.2", "10c4", "ea60");
  by_handle.driver("1-4.2:1.0", "usbfs");
  by_handle.process(900, "brltty");
  by_handle.link("proc/900/fd/7", "/dev/bus/usb/001/005");
  EXPECT_TRUE(says(by_handle.only_fault(), "pid 900 (brltty)"));
}

TEST(UsbBus, NamesAnotherProgramThatDrivesTheAdapter) {
  Machine pc;
  pc.device("1-4", "0403", "6010");
  pc.driver("1-4:1.0", "usbfs");
  pc.process(77, "openocd");
  pc.link("proc/77/fd/3", "/dev/bus/usb/001/005");
  Fault fault = pc.only_fault();
  EXPECT_EQ(fault.code, Code::port_claimed);
  EXPECT_TRUE(says(fault, "pid 77 (openocd)")) << describe(fault);
}

TEST(UsbBus, AddsUpWhatHangsOnAHubWithoutASupply) {
  Machine pc;
  pc.hub("1-4", "a0");
  for (int i = 1; i <= 5; ++i) {
    const std::string place = "1-4." + std::to_string(i);
    pc.device(place, "10c4", "ea60");
    fs::create_directories(pc.root / ("sys/bus/usb/devices/" + place + ":1.0/ttyUSB" + std::to_string(i)));
  }
  Fault fault = pc.only_fault();
  EXPECT_EQ(fault.code, Code::usb_trouble);
  EXPECT_TRUE(says(fault, "5 devices want 500 mA, it may give 400")) << describe(fault);
  pc.write("sys/bus/usb/devices/1-4/bmAttributes", "e0");
  EXPECT_TRUE(pc.faults().empty()) << "with a supply of its own";
}

TEST(UsbBus, SeesADeviceThatGotNoPowerAndAPortThatWasSwitchedOff) {
  Machine pc;
  const std::string at = pc.device("1-4.2", "303a", "1001", "USB JTAG/serial debug unit");
  pc.write(at + "/bConfigurationValue", "");
  pc.write(at + "/bMaxPower", "500mA");
  EXPECT_EQ(pc.only_fault().code, Code::usb_trouble);
  EXPECT_TRUE(says(pc.only_fault(), "no power left")) << describe(pc.only_fault());

  Machine shorted;
  shorted.device("1-1", "046d", "c31c");
  shorted.write("sys/bus/usb/devices/1-0:1.0/usb1-port3/over_current_count", "2");
  Fault fault = shorted.only_fault();
  EXPECT_EQ(fault.code, Code::usb_trouble);
  EXPECT_TRUE(says(fault, "usb1-port3")) << describe(fault);
  EXPECT_TRUE(says(fault, "2 times")) << describe(fault);
}

TEST(KernelLog, TellsPowerBandwidthAndStormsApart) {
  auto faults = faults_in_kernel_log(
      "[  100.000001] usb 1-4.1: new full-speed USB device number 9 using xhci_hcd\n"
      "[  100.500000] usb 1-4.1: Not enough bandwidth for new device state.\n"
      "[  100.500001] usb 1-4.1: can't set config #1, error -28\n"
      "[  101.000000] usb 1-4-port2: over-current condition\n"
      "[  102.000000] usb 1-4-port3: unable to enumerate USB device\n"
      "[  103.000000] usb 1-4.4: rejected 1 configuration due to insufficient available bus power\n");
  ASSERT_EQ(faults.size(), 4u);
  EXPECT_TRUE(says(faults[0], "no bandwidth left")) << describe(faults[0]);
  EXPECT_TRUE(says(faults[1], "too much current"));
  EXPECT_TRUE(says(faults[2], "does not say what it is"));
  EXPECT_TRUE(says(faults[3], "no power left"));

  std::string storm, slow;
  for (int i = 0; i < 5; ++i) {
    storm +=
        "[  " + std::to_string(100 + 3 * i) + ".0] usb 1-2: USB disconnect, device number " + std::to_string(i) + "\n";
    slow +=
        "[  " + std::to_string(100 + 90 * i) + ".0] usb 1-2: USB disconnect, device number " + std::to_string(i) + "\n";
  }
  ASSERT_EQ(faults_in_kernel_log(storm).size(), 1u);
  EXPECT_TRUE(says(faults_in_kernel_log(storm)[0], "comes and goes"));
  EXPECT_TRUE(faults_in_kernel_log(slow).empty()) << "boards of a shift";
  EXPECT_TRUE(faults_in_kernel_log("").empty());
  EXPECT_TRUE(faults_in_kernel_log("[ x] usb \n[\nusb\nhub :\n").empty());
}

TEST(ModemManager, IsNotedUnlessItWasToldToKeepOff) {
  Machine pc;
  pc.write("sys/class/tty/ttyUSB0/dev", "188:0");
  const SystemView view{pc.root.path(), [] { return std::string{}; }};
  EXPECT_FALSE(modem_manager_note("/dev/ttyUSB0", view)) << "it does not run";
  pc.process(640, "ModemManager");
  EXPECT_TRUE(modem_manager_note("/dev/ttyUSB0", view));
  pc.write("run/udev/data/c188:0", "I:1\nE:ID_MM_DEVICE_IGNORE=1");
  EXPECT_FALSE(modem_manager_note("/dev/ttyUSB0", view));
}

TEST(BusyPort, IsClaimedWhereAServiceHoldsIt) {
  EXPECT_EQ(busy_fault("/dev/ttyUSB0", "pid 4711 (screen)").code, Code::port_busy);
  EXPECT_TRUE(says(busy_fault("/dev/ttyUSB0", "pid 4711 (screen)"), "held by pid 4711 (screen)"));
  EXPECT_EQ(busy_fault("/dev/ttyUSB0", "").code, Code::port_busy);
  EXPECT_EQ(busy_fault("/dev/ttyUSB0", "pid 640 (ModemManager)").code, Code::port_claimed);
  EXPECT_TRUE(says(busy_fault("/dev/ttyUSB0", "pid 812 (brltty)"), "sudo apt remove brltty"));
}

}  // namespace
}  // namespace espmint
