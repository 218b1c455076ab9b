// recipe/section.hpp: reading a recipe's tables: each key is asked for with its type, and what is left over is a
// mistake.
#pragma once

#include <fmt/format.h>

#include <toml++/toml.h>
#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "base/text.hpp"
#include "recipe/recipe.hpp"

namespace espmint {

/// One table of the file with its known keys; every key is asked for, what is left over is a mistake.
class Section {
 public:
  Section(const toml::table& table, std::string name, std::string_view filename)
      : table_(table), name_(std::move(name)), filename_(filename) {}

  [[nodiscard]] Fault wrong(const toml::source_region& at, std::string what, std::string advice = {}) const {
    Fault fault{Code::recipe_invalid, Remedy::refuse, std::move(what)};
    fault.where.input = fmt::format("{}:{}:{}", filename_, at.begin.line, at.begin.column);
    fault.advice = std::move(advice);
    return fault;
  }

  template <typename T>
  Result<void> take(std::string_view key, T& out, std::string_view kind,
                    const std::function<std::string(const T&)>& refuse = {}) {
    know(key);
    const toml::node* node = table_.get(key);
    if (!node) return ok();
    using Stored = std::conditional_t<std::is_same_v<T, std::uint64_t>, std::int64_t, T>;
    auto value = node->value_exact<Stored>();
    if (!value) return fail(wrong(node->source(), fmt::format("{}{} is {}", prefix(), key, kind)));
    if constexpr (std::is_same_v<T, std::uint64_t>)
      if (*value < 1) return fail(wrong(node->source(), fmt::format("{}{} is 1 or more", prefix(), key)));
    out = static_cast<T>(*value);
    if (refuse)
      if (std::string why = refuse(out); !why.empty())
        return fail(wrong(node->source(), fmt::format("{}{}: {}", prefix(), key, why)));
    return ok();
  }
  const toml::node* node(std::string_view key) {
    know(key);
    return table_.get(key);
  }
  Result<void> nothing_else() const {
    for (const auto& [key, value] : table_) {
      if (std::find(known_.begin(), known_.end(), key.str()) != known_.end()) continue;
      std::string meant = nearest(key.str(), known_);
      return fail(wrong(key.source(), fmt::format("\"{}{}\" is no key of a recipe", prefix(), key.str()),
                        meant.empty() ? fmt::format("Known here: {}", fmt::join(known_, ", "))
                                      : fmt::format("Did you mean \"{}\"?", meant)));
    }
    return ok();
  }

  /// "image." before the name of a key, for people.
  [[nodiscard]] std::string prefix() const { return name_.empty() ? "" : name_ + "."; }

  [[nodiscard]] std::string_view filename() const { return filename_; }

 private:
  void know(std::string_view key) {
    if (std::find(known_.begin(), known_.end(), key) == known_.end()) known_.push_back(key);
  }
  const toml::table& table_;
  std::string name_;
  std::string_view filename_;
  std::vector<std::string_view> known_;
};

/// `words` are a list that lives as long as the program.
template <typename Words>
std::function<std::string(const std::string&)> one_of(const Words& words) {
  return [&words](const std::string& value) {
    for (std::string_view word : words)
      if (value == word) return std::string{};
    std::string meant = nearest(value, words);
    return fmt::format("\"{}\" is none of {}{}", value, fmt::join(words, ", "),
                       meant.empty() ? "" : "; did you mean \"" + meant + "\"?");
  };
}

/// A list of numbers or of words.
template <typename T, typename Out>
Result<void> take_list(Section& section, std::string_view key, std::string_view kind, Out& out) {
  const toml::node* node = section.node(key);
  if (!node) return ok();
  const toml::array* list = node->as_array();
  if (!list) return fail(section.wrong(node->source(), fmt::format("{}{} is {}", section.prefix(), key, kind)));
  for (const toml::node& one : *list) {
    auto value = one.value_exact<T>();
    if (!value) return fail(section.wrong(one.source(), fmt::format("{}{} is {}", section.prefix(), key, kind)));
    out.push_back(static_cast<typename Out::value_type>(*value));
  }
  return ok();
}

/// Every [[image]] of the file.
Result<void> take_images(const toml::table& root, std::string_view filename, Recipe&);

/// What [cloud] says, that is [cloud.aws]. Faults also cloud_refused.
Result<void> take_cloud(Section&, Recipe&);

}  // namespace espmint
