// io/task.hpp: Task<T>, a coroutine of the line: lazily started, one thread, resumed by the loop.
#pragma once

#include <boost/asio/awaitable.hpp>

#include "base/result.hpp"

namespace espmint {

template <typename T = void>
using Task = boost::asio::awaitable<T>;

}  // namespace espmint
