// cloud/aws/ini.hpp: the files that AWS's tools keep their settings and keys in, read as botocore reads them.
//   TRY(Ini config, Ini::parse(std::move(text), "/home/ann/.aws/config"));
//   value_of(config.section("profile factory"), "region");
// Pure. Source: AWS SDKs and Tools Reference Guide, Shared config and credentials files; Python's configparser, whose
// rules of indentation and comments the AWS CLI has.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "base/secret.hpp"

namespace espmint::aws {

class Ini {
 public:
  struct Entry {
    std::string key;         // in lower case; of an entry below another one: "iot.endpoint_url"
    std::string_view value;  // trimmed; of the text, so it is wiped with it
  };
  struct Section {
    std::string title;  // "default", "profile factory": words parted by one blank, without quotes
    std::vector<Entry> entries;
  };

  Ini() = default;  // an empty file
  /// Fault credentials_missing (refuse) names `path` and the line and quotes neither: no text, a line that is neither
  /// [title] nor key = value, a title or a key that stands there twice.
  static Result<Ini> parse(Secret text, const std::string& path);

  [[nodiscard]] const std::vector<Section>& sections() const { return sections_; }
  [[nodiscard]] const Section* section(std::string_view title) const;

 private:
  Secret text_;
  std::vector<Section> sections_;
};

/// The whole of a value as it stands there; nothing where there is none.
std::optional<std::string_view> line_of(const Ini::Section*, std::string_view key);
/// The same up to a comment, which begins with a # or ; after a blank. An empty value is none.
std::optional<std::string_view> value_of(const Ini::Section*, std::string_view key);

}  // namespace espmint::aws
