// recipe/identity_files.hpp: the files of one board's identity image, made from the recipe's templates.
#pragma once

#include "base/mac.hpp"
#include "base/secret.hpp"
#include "recipe/plan.hpp"

namespace espmint {

/// What the words in braces stand for.
struct IdentityValues {
  std::string certificate_pem;
  Secret private_key_pem;
  std::string root_ca_pem;
  std::string id;
  Mac mac;
};

/// Any of them may hold the private key, so all are wiped at their end.
struct IdentityFileContent {
  std::string path;
  Secret content;
};

/// The device's files first as the plan lists them, then what the firmware's image brings and no device file replaces;
/// sorted as the reference generator walks a folder. Fault recipe_invalid for an unknown word in braces.
Result<std::vector<IdentityFileContent>> identity_files(const IdentityPlan&, const IdentityValues&);

/// Why this is no valid template; empty when it is.
std::string check_template(std::string_view text);

}  // namespace espmint
