// recipe/words.hpp: the words in braces that a recipe's files, entries and paths may have, and what they stand for.
//   "{certificate}", "{private_key}", "{root_ca}", "{id}", "{mac}", "{mac:upper}", "{mac:colon}", "{serial}",
//   "{endpoint}", "{thing}" (the id, too), "{key.1}", "{key.NAME}", "{values.NAME}"
// Braces that hold no word stay as they are: JSON files are full of them.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/mac.hpp"
#include "base/result.hpp"
#include "base/secret.hpp"
#include "recipe/plan.hpp"

namespace espmint {

/// One board's own values.
struct BoardValues {
  std::string certificate_pem;
  Secret private_key_pem;
  std::string root_ca_pem;
  std::string id;
  Mac mac;
  std::vector<Secret> key_fields{};          // of the pool; empty where the recipe has none
  std::vector<std::string> key_names{};      // of the fields, where the file has a header
  std::map<std::string, std::string> row{};  // of the values' file, by column
  std::string endpoint{};                    // host of the broker; empty where there is none, or none known
};

/// Why this is no valid template; empty when it is. What columns and keys there are is checked later (check_words).
std::string check_template(std::string_view text);
/// The words of a template, in their order.
std::vector<std::string_view> words_of(std::string_view text);
/// Whether a template depends on the board.
bool has_words(std::string_view text);

/// A template with its words replaced. It may hold the private key, so it is wiped at its end. Fault recipe_invalid for
/// a word that stands for nothing here.
Result<Secret> expand(std::string_view text, const BoardValues&);

/// Fault recipe_invalid where a template of the plan has a {key.…} that the pool's rows do not have.
Result<void> check_key_words(const Plan&, std::size_t fields, const std::vector<std::string>& names);

}  // namespace espmint
