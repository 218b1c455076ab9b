// Any bytes as a recipe: a recipe or a sentence, and what is accepted holds what the rest of the program relies on.
#include <cstdlib>

#include "recipe/checks.hpp"
#include "recipe/recipe.hpp"
#include "recipe/words.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace espmint;
  auto recipe = parse_recipe(as_text({data, size}), "recipe.toml");
  if (!recipe) {
    const Code code = recipe.error().code;
    if (describe(recipe.error()).empty() || (code != Code::recipe_invalid && code != Code::cloud_refused)) std::abort();
    return 0;
  }
  if (!device_id_for(recipe->id, Mac{{2, 0, 0, 0, 0, 1}})) std::abort();
  if (recipe->product.find('/') != std::string::npos || recipe->product.starts_with('.')) std::abort();
  if (recipe->quota && *recipe->quota == 0) std::abort();
  for (const RecipeImage& image : recipe->images) {
    for (const ImageFile& file : image.files)
      if (!check_template(file.content.text).empty() || !check_template(file.path).empty()) std::abort();
    for (const ImageEntry& entry : image.entries)
      if (!check_template(entry.content.text).empty() || entry.encoding.empty()) std::abort();
  }
  if (recipe->aws && recipe->issuer != "aws") std::abort();
  if (recipe->aws && (recipe->aws->attributes.size() > 49 || recipe->aws->attributes.contains("espmint"))) std::abort();
  return 0;
}
