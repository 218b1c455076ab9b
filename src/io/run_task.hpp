// io/run_task.hpp: for tests: a task run to its end in virtual time, and what it returned.
#pragma once

#include <optional>

#include "io/loop.hpp"

namespace espmint {

template <typename T>
Task<> keep_result(Task<T> task, std::optional<T>& out) {
  out.emplace(co_await std::move(task));
}

template <typename T>
T run_task(VirtualLoop& loop, Task<T> task) {
  std::optional<T> out;
  loop.run(keep_result(std::move(task), out));
  return std::move(*out);
}

}  // namespace espmint
