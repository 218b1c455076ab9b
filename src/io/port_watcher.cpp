#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <deque>
#include <map>

#include "io/descriptor.hpp"
#include "io/hotplug.hpp"
#include "io/udev_handle.hpp"

namespace espmint {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

// A new node belongs to root for some milliseconds, until udev has given it to its group. It is announced when it may
// be opened, or after this time, so that a real lack of permission is still told.
constexpr Duration permission_patience = 1s;
constexpr Duration patience_step = 50ms;

/// Every source only says "look again": what is there now is compared with what was there. Three of them, because each
/// is deaf somewhere: udev in containers, inotify across mount namespaces, and the rescan is slow.
class SystemPortWatcher final : public PortWatcher {
 public:
  SystemPortWatcher(Loop& loop, WatchedPlaces places)
      : places_(std::move(places)),
        timer_(std::make_shared<asio::steady_timer>(loop.context())),
        folder_events_(loop.context()),
        udev_events_(loop.context()) {
    watch_folder();
    if (places_.listens_to_udev) watch_udev();
  }

  Task<PortEvent> next() override {
    for (;;) {
      if (!events_.empty()) {
        PortEvent event = std::move(events_.front());
        events_.pop_front();
        co_return event;
      }
      rescan();
      if (!events_.empty()) continue;
      co_await wait_for_change();
    }
  }

 private:
  struct Known {
    PortInfo port;
    std::uint64_t inode = 0;  // another one under the same name: it was unplugged and plugged in between two looks
    Instant first_seen;
    bool announced = false;
  };

  void watch_folder() {
    FileHandle handle{::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)};
    if (!handle.is_open()) return;
    if (::inotify_add_watch(handle.get(), places_.folder.c_str(),
                            IN_CREATE | IN_DELETE | IN_ATTRIB | IN_MOVED_FROM | IN_MOVED_TO) < 0) {
      return;
    }
    folder_events_.assign(handle.release());
  }

  void watch_udev() {
    library_.reset(udev_new());
    if (!library_) return;
    // Where the daemon runs, its events come when group and links are set; where it does not, its channel is silent.
    const char* source = ::access("/run/udev/control", F_OK) == 0 ? "udev" : "kernel";
    monitor_.reset(udev_monitor_new_from_netlink(library_.get(), source));
    if (!monitor_ || udev_monitor_filter_add_match_subsystem_devtype(monitor_.get(), "tty", nullptr) < 0 ||
        udev_monitor_enable_receiving(monitor_.get()) < 0) {
      monitor_.reset();
      return;
    }
    // Asio closes what it holds; the monitor keeps its own descriptor.
    FileHandle handle{::fcntl(udev_monitor_get_fd(monitor_.get()), F_DUPFD_CLOEXEC, 0)};
    if (handle.is_open()) udev_events_.assign(handle.release());
  }

  void rescan() {
    std::map<std::string, PortInfo> there;
    for (PortInfo& port : places_.list()) there.emplace(port.name, std::move(port));
    for (auto entry = known_.begin(); entry != known_.end();) {
      const auto found = there.find(entry->first);
      if (found != there.end() && inode_of(entry->first) == entry->second.inode &&
          found->second.location == entry->second.port.location) {
        ++entry;
        continue;
      }
      if (entry->second.announced) events_.push_back({PortEvent::Kind::vanished, std::move(entry->second.port)});
      entry = known_.erase(entry);
    }
    holds_back_ = false;
    for (auto& [name, port] : there) {
      const auto entry = known_.try_emplace(name, Known{port, inode_of(name), steady_now(), false}).first;
      Known& known = entry->second;
      if (known.announced) continue;
      if (::access(name.c_str(), R_OK | W_OK) != 0 && steady_now() - known.first_seen < permission_patience) {
        holds_back_ = true;
        continue;
      }
      known.announced = true;
      events_.push_back({PortEvent::Kind::appeared, known.port});
    }
  }

  static std::uint64_t inode_of(const std::string& name) {
    struct stat node {};
    return ::stat(name.c_str(), &node) == 0 ? node.st_ino : 0;
  }

  Task<> wait_for_change() {
    timer_->expires_after(holds_back_ ? std::min(patience_step, places_.rescan) : places_.rescan);
    // Each source cuts the timer short, so there is one wait, however many sources.
    listen(folder_events_, folder_listens_);
    listen(udev_events_, udev_listens_);
    static_cast<void>(co_await timer_->async_wait(asio::as_tuple(asio::use_awaitable)));
    drain();
  }

  // The handler shares what it touches: it may run after the watcher has gone.
  void listen(asio::posix::stream_descriptor& source, const std::shared_ptr<bool>& listens) {
    if (!source.is_open() || *listens) return;
    *listens = true;
    source.async_wait(asio::posix::descriptor_base::wait_read,
                      [timer = timer_, listens](boost::system::error_code error) {
                        *listens = false;
                        if (!error) timer->cancel();
                      });
  }

  void drain() {
    std::array<char, 4096> dropped;
    if (folder_events_.is_open()) {
      while (::read(folder_events_.native_handle(), dropped.data(), dropped.size()) > 0) {
      }
    }
    if (monitor_) {
      while (UdevHandle<udev_device>(udev_monitor_receive_device(monitor_.get()))) {
      }
    }
  }

  WatchedPlaces places_;
  std::shared_ptr<asio::steady_timer> timer_;
  asio::posix::stream_descriptor folder_events_;
  asio::posix::stream_descriptor udev_events_;
  std::shared_ptr<bool> folder_listens_ = std::make_shared<bool>(false);
  std::shared_ptr<bool> udev_listens_ = std::make_shared<bool>(false);
  UdevHandle<udev> library_;
  UdevHandle<udev_monitor> monitor_;
  std::map<std::string, Known> known_;
  std::deque<PortEvent> events_;
  bool holds_back_ = false;
};

}  // namespace

std::unique_ptr<PortWatcher> make_port_watcher(Loop& loop, WatchedPlaces places) {
  return std::make_unique<SystemPortWatcher>(loop, std::move(places));
}

std::unique_ptr<PortWatcher> make_port_watcher(Loop& loop) { return make_port_watcher(loop, WatchedPlaces{}); }

}  // namespace espmint
