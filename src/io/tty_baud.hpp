// io/tty_baud.hpp: inside this room: any speed for a tty, not only those that POSIX has names for.
#pragma once

#include <cstdint>

namespace espmint {

/// Sets both directions once what was written has left; errno's value, 0 for success.
int set_tty_baud(int fd, std::uint32_t baud);
/// What the driver says it runs at; 0 where it cannot be asked.
std::uint32_t tty_baud(int fd);

}  // namespace espmint
