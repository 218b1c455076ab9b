#include "io/tty_baud.hpp"

#include <linux/posix_types.h>
#include <sys/ioctl.h>

#include <cerrno>

// The kernel's own termios has speeds as numbers (termios2) but the same names as the C library's, which the
// precompiled header has brought in already: it goes into a namespace.
namespace kernel {
#include <asm/termbits.h>
}  // namespace kernel

namespace espmint {

using kernel::termios2;

int set_tty_baud(int fd, std::uint32_t baud) {
  termios2 line{};
  if (::ioctl(fd, TCGETS2, &line) != 0) return errno;
  line.c_cflag &= ~static_cast<kernel::tcflag_t>(CBAUD | (CBAUD << IBSHIFT));
  line.c_cflag |= BOTHER | (BOTHER << IBSHIFT);
  line.c_ispeed = baud;
  line.c_ospeed = baud;
  return ::ioctl(fd, TCSETSW2, &line) == 0 ? 0 : errno;
}

std::uint32_t tty_baud(int fd) {
  termios2 line{};
  return ::ioctl(fd, TCGETS2, &line) == 0 ? line.c_ospeed : 0;
}

}  // namespace espmint
