// What a recipe says of AWS, what of it reaches a board, and what is refused before anybody is called.
#include <gtest/gtest.h>

#include "recipe/board_image.hpp"
#include "recipe/plan_cloud.hpp"
#include "recipe/plan_images.hpp"
#include "recipe/test_images.hpp"

namespace espmint {
namespace {

constexpr std::string_view by_aws = "[identity]\nissuer = \"aws\"\n[cloud.aws]\n";  // three lines
constexpr Mac board{{0x24, 0xd7, 0xeb, 0x12, 0x34, 0x56}};

Result<Recipe> parse(std::string_view text) { return parse_recipe(text, "recipe.toml"); }
Result<Recipe> with(std::string_view text) { return parse(std::string{by_aws} + std::string{text}); }

testing::AssertionResult fault_in(const Result<Recipe>& recipe, Code code, std::string_view place,
                                  std::string_view word) {
  if (recipe) return testing::AssertionFailure() << "it was accepted";
  const Fault& fault = recipe.error();
  if (fault.code != code || fault.remedy != Remedy::refuse)
    return testing::AssertionFailure() << name_of(fault.code) << ": " << describe(fault);
  if (fault.where.input != "recipe.toml:" + std::string{place})
    return testing::AssertionFailure() << "at " << fault.where.input << ": " << describe(fault);
  if (describe(fault).find(word) == std::string::npos)
    return testing::AssertionFailure() << "no \"" << word << "\" in: " << describe(fault);
  return testing::AssertionSuccess();
}
/// Exit 5: what AWS would not take. `text` follows the three lines of `by_aws`.
testing::AssertionResult aws_refuses(std::string_view text, std::string_view place, std::string_view word) {
  return fault_in(with(text), Code::cloud_refused, place, word);
}
/// Exit 3: what nobody can have meant.
testing::AssertionResult mistyped(std::string_view text, std::string_view place, std::string_view word) {
  return fault_in(with(text), Code::recipe_invalid, place, word);
}

Result<Plan> plan_of(const Recipe& recipe, const MemoryFolder& folder = idf_project(),
                     const PlanOptions& options = {}) {
  TRY(FirmwareSet set, find_firmware(folder, ""));
  return make_plan(recipe, std::move(set), options);
}
Plan plan_with(std::string_view text) {
  auto recipe = with(text);
  EXPECT_TRUE(recipe) << (recipe ? "" : describe(recipe.error()));
  auto plan = plan_of(*recipe);
  EXPECT_TRUE(plan) << (plan ? "" : describe(plan.error()));
  return plan ? *plan : Plan{};
}
std::string notes_of(const Plan& plan) {
  std::string out;
  for (const std::string& note : plan.notes) out += note + "\n";
  return out;
}
bool has(std::string_view text, std::string_view word) { return text.find(word) != std::string_view::npos; }

BoardValues values_of(std::string endpoint) {
  BoardValues values{"CERT\n", Secret{to_bytes("KEY\n")}, "ROOT\n", "th-1", board};
  values.endpoint = std::move(endpoint);
  return values;
}
std::map<std::string, std::string> files_on(const ImagePlan& image, const BoardValues& values) {
  std::map<std::string, std::string> out;
  auto built = build_board_image(image, values, {}, {}, {});
  EXPECT_TRUE(built) << (built ? "" : describe(built.error()));
  if (!built) return out;
  auto read = read_image(built->front().bytes.reveal(), image.format, image.geometry);
  for (const FileOwned& file : read->files) out[file.path] = as_text(file.content);
  return out;
}

// ---------------------------------------------------------------- what it says

TEST(CloudRecipe, SaysHowBoardsAreRegistered) {
  auto recipe = with(R"(region = "eu-central-1"
profile = "factory"
endpoint_url = "http://[::1]:5000/iot"
data_endpoint = "a1b2-ats.iot.eu-central-1.amazonaws.com"
issuance = "own-ca"
policy_name = "thermostat+1,2@x.y=z"
topic_prefix = "fleet/thermostat"
thing_type = "thermostat:2"
attributes = { owner = "hello@iotready.co", "site/a#1" = "line-3" }
groups = ["line-3", "pilot"]
adopt = true
root_ca = "amazon-root-ca-3"
backlog = 50
)");
  ASSERT_TRUE(recipe) << describe(recipe.error());
  EXPECT_EQ(recipe->issuer, "aws");
  ASSERT_TRUE(recipe->aws);
  const AwsPlan& aws = *recipe->aws;
  EXPECT_EQ(aws.region, "eu-central-1");
  EXPECT_EQ(aws.profile, "factory");
  EXPECT_EQ(aws.endpoint_url, "http://[::1]:5000/iot");
  EXPECT_EQ(aws.data_endpoint, "a1b2-ats.iot.eu-central-1.amazonaws.com");
  EXPECT_EQ(aws.issuance, AwsIssuance::own_ca);
  EXPECT_EQ(aws.policy_name, "thermostat+1,2@x.y=z");
  EXPECT_EQ(aws.topic_prefix, "fleet/thermostat");
  EXPECT_EQ(aws.thing_type, "thermostat:2");
  EXPECT_EQ(aws.attributes,
            (std::map<std::string, std::string>{{"owner", "hello@iotready.co"}, {"site/a#1", "line-3"}}));
  EXPECT_EQ(aws.groups, (std::vector<std::string>{"line-3", "pilot"}));
  EXPECT_TRUE(aws.adopt);
  EXPECT_EQ(aws.amazon_root, 3u);
  EXPECT_EQ(aws.backlog, 50u);
  for (std::string_view way : {"csr", "own-ca", "aws-keys", "bulk", "jitp"})
    EXPECT_EQ(
        name_of(with("data_endpoint = \"b.example.com\"\nissuance = \"" + std::string{way} + "\"\n")->aws->issuance),
        way);
}

TEST(CloudRecipe, NeedsTheBrokersNameWhereAwsIsAskedNothing) {
  for (std::string_view way : {"bulk", "jitp"}) {
    auto refused = with("issuance = \"" + std::string{way} + "\"\n");
    ASSERT_FALSE(refused) << way;
    EXPECT_EQ(refused.error().code, Code::recipe_invalid);
    EXPECT_NE(refused.error().what.find("data_endpoint"), std::string::npos) << describe(refused.error());
  }
}

TEST(CloudRecipe, WithoutASectionTakesEverythingFromTheEnvironmentAndTheProduct) {
  auto recipe = parse("[product]\nname = \"my lamp\"\n[identity]\nissuer = \"aws\"\n");
  ASSERT_TRUE(recipe) << describe(recipe.error());
  EXPECT_FALSE(recipe->aws);
  auto plan = plan_of(*recipe);
  ASSERT_TRUE(plan) << describe(plan.error());
  ASSERT_TRUE(plan->aws);
  EXPECT_EQ(plan->aws->region, "");
  EXPECT_EQ(plan->aws->policy_name, "my-lamp-device");
  EXPECT_EQ(plan->aws->topic_prefix, "my-lamp");
  EXPECT_EQ(plan->aws->issuance, AwsIssuance::csr);
  EXPECT_EQ(plan->aws->amazon_root, 1u);
  EXPECT_EQ(plan->aws->backlog, 1000u);
  EXPECT_TRUE(has(notes_of(*plan), "region from the environment, policy my-lamp-device (generated), issuance csr"))
      << notes_of(*plan);
  EXPECT_FALSE(plan_of(default_recipe())->aws);
}

TEST(CloudRecipe, OfInitIsRightOnceItsCommentsAreTakenAway) {
  auto set = find_firmware(idf_project(), "build");
  set->project = "my lamp (v2)";
  std::string text = commented_recipe(&*set, "build");
  EXPECT_EQ(parse(text)->issuer, "local");
  const std::size_t begin = text.find("# [cloud.aws]");
  ASSERT_NE(begin, std::string::npos);
  for (std::size_t at = begin; text.substr(at, 2) == "# "; at = text.find('\n', at) + 1) text.erase(at, 2);
  text.replace(text.find("\"local\""), 7, "\"aws\"");
  auto recipe = parse(text);
  ASSERT_TRUE(recipe) << describe(recipe.error()) << text;
  ASSERT_TRUE(recipe->aws);
  EXPECT_EQ(recipe->aws->region, "eu-central-1");
  EXPECT_EQ(recipe->aws->policy_name, "my-lamp--v2--device");
  EXPECT_EQ(recipe->aws->attributes.size(), 1u);
}

TEST(CloudRecipe, OfAnotherIssuerIsRefused) {
  auto recipe = parse("[cloud.aws]\nregion = \"eu-central-1\"\n");
  EXPECT_TRUE(fault_in(recipe, Code::recipe_invalid, "1:1", "issuer = \"aws\"")) << "somebody believes it works";
  recipe = parse("[identity]\nissuer = \"local\"\n[cloud.aws]\n");
  EXPECT_TRUE(fault_in(recipe, Code::recipe_invalid, "3:1", "the issuer is local"));
  EXPECT_TRUE(fault_in(parse("[identity]\nissuer = \"asw\"\n"), Code::recipe_invalid, "2:10", "aws"));
}

TEST(CloudRecipe, WithATypingMistakeNamesWhatWasMeant) {
  EXPECT_TRUE(mistyped("regoin = \"x\"\n", "4:1", "Did you mean \"region\"?"));
  EXPECT_TRUE(mistyped("thing_typ = \"x\"\n", "4:1", "thing_type"));
  EXPECT_TRUE(mistyped("issuance = \"crs\"\n", "4:12", "csr"));
  EXPECT_TRUE(mistyped("root_ca = \"amazon-root-ca-5\"\n", "4:11", "amazon-root-ca-1"));
  EXPECT_TRUE(mistyped("region = \"Frankfurt (EU)\"\n", "4:10", "eu-central-1"));
  EXPECT_TRUE(mistyped("region = \"eu-central-1/\"\n", "4:10", "eu-central-1"));
  EXPECT_TRUE(mistyped("endpoint_url = \"localhost:5000\"\n", "4:16", "http://"));
  EXPECT_TRUE(mistyped("endpoint_url = \"https://user:secret@host\"\n", "4:16", "keys"));
  EXPECT_TRUE(mistyped("data_endpoint = \"https://a.amazonaws.com\"\n", "4:17", "host's name"));
  EXPECT_TRUE(mistyped("data_endpoint = \"a.amazonaws.com:8883\"\n", "4:17", "port"));
  EXPECT_TRUE(mistyped("profile = \"\"\n", "4:11", "empty"));
  EXPECT_TRUE(mistyped("backlog = 0\n", "4:11", "1 or more"));
  EXPECT_TRUE(mistyped("backlog = 1.5\n", "4:11", "whole number"));
  EXPECT_TRUE(mistyped("backlog = 1000001\n", "4:11", "at most"));
  EXPECT_TRUE(mistyped("adopt = \"yes\"\n", "4:9", "true or false"));
  EXPECT_TRUE(mistyped("attributes = [\"a\"]\n", "4:14", "table"));
  EXPECT_TRUE(mistyped("attributes = { floor = 3 }\n", "4:24", "text in quotes"));
  EXPECT_TRUE(mistyped("attributes = { espmint = \"x\" }\n", "4:26", "already"));
  EXPECT_TRUE(mistyped("groups = \"pilot\"\n", "4:10", "list"));
  EXPECT_TRUE(mistyped("groups = [\"a\", \"a\"]\n", "4:10", "twice"));
  EXPECT_TRUE(mistyped("topic_prefix = \"a/#\"\n", "4:16", "topic"));
  EXPECT_TRUE(mistyped("topic_prefix = \"$aws\"\n", "4:16", "topic"));
  EXPECT_TRUE(mistyped("topic_prefix = \"*\"\n", "4:16", "topic")) << "it would be the whole fleet's";
  EXPECT_TRUE(mistyped("policy_file = \"p.json\"\ntopic_prefix = \"a\"\n", "5:16", "policy_file"));
  EXPECT_TRUE(fault_in(parse("[cloud.gcp]\n"), Code::recipe_invalid, "1:8", "gcp"));
  EXPECT_TRUE(fault_in(parse("cloud = 1\n"), Code::recipe_invalid, "1:9", "[cloud]"));
  EXPECT_TRUE(fault_in(parse("[cloud]\naws = true\n"), Code::recipe_invalid, "2:7", "[cloud.aws]"));
}

// ---------------------------------------------------------------- what AWS would refuse

TEST(CloudRecipe, WithNamesThatAwsRefusesIsRefusedBeforeAnyCall) {
  EXPECT_TRUE(aws_refuses("thing_type = \"my type\"\n", "4:14", "' ' is none of"));
  EXPECT_TRUE(aws_refuses("thing_type = \"a.b\"\n", "4:14", "thing type"));
  EXPECT_TRUE(aws_refuses("thing_type = \"\"\n", "4:14", "1 to 128"));
  EXPECT_TRUE(aws_refuses("thing_type = \"" + std::string(129, 't') + "\"\n", "4:14", "128"));
  EXPECT_TRUE(with("thing_type = \"" + std::string(128, 't') + "\"\n"));
  EXPECT_TRUE(aws_refuses("policy_name = \"a:b\"\n", "4:15", "policy"));
  EXPECT_TRUE(aws_refuses("policy_name = \"" + std::string(129, 'p') + "\"\n", "4:15", "128"));
  EXPECT_TRUE(aws_refuses("groups = [\"ok\", \"not/ok\"]\n", "4:10", "'/'"));
  EXPECT_TRUE(aws_refuses("attributes = { owner = \"My Co\" }\n", "4:24", "' ' is none of"));
  EXPECT_TRUE(aws_refuses("attributes = { \"my owner\" = \"x\" }\n", "4:29", "name of an attribute"));
  EXPECT_TRUE(aws_refuses("attributes = { owner = \"\" }\n", "4:24", "1 to 800"));
  EXPECT_TRUE(aws_refuses("attributes = { owner = \"caf\xc3\xa9\" }\n", "4:24", "value of an attribute"));
  EXPECT_TRUE(aws_refuses("attributes = { owner = \"" + std::string(801, 'v') + "\" }\n", "4:24", "800"));
}

TEST(CloudRecipe, CountsTheAttributeThatEveryThingGets) {
  EXPECT_TRUE(with("attributes = { a = \"1\", b = \"2\" }\n"));
  EXPECT_TRUE(aws_refuses("attributes = { a = \"1\", b = \"2\", c = \"3\" }\n", "4:14", "thing_type"))
      << "with our mark they are four, and three are the limit";
  std::string many = "thing_type = \"t\"\n[cloud.aws.attributes]\n";
  for (int i = 0; i < 49; ++i) many += "a" + std::to_string(i) + " = \"x\"\n";
  EXPECT_TRUE(with(many));
  EXPECT_TRUE(aws_refuses(many + "b = \"x\"\n", "5:1", "50 attributes"));
  std::string groups;
  for (int i = 0; i < 11; ++i) groups += "\"g" + std::to_string(i) + "\",";
  EXPECT_TRUE(aws_refuses("groups = [" + groups + "]\n", "4:10", "10 groups"));
}

TEST(CloudRecipe, WhoseIdsAreNoThingNamesIsRefusedAsAwsWould) {
  auto of = [](const std::string& id) { return parse("[identity]\nid = \"" + id + "\"\nissuer = \"aws\"\n"); };
  EXPECT_TRUE(fault_in(of("th {mac}"), Code::cloud_refused, "2:6", "no thing name"));
  EXPECT_TRUE(fault_in(of(std::string(60, 'x') + "{mac}"), Code::cloud_refused, "2:6", "64"));
  EXPECT_TRUE(fault_in(of("same"), Code::recipe_invalid, "2:6", "every board"));
  EXPECT_TRUE(fault_in(of("{mca}"), Code::recipe_invalid, "2:6", "{mac}"));
  EXPECT_TRUE(of("th-{mac:colon}"));
}

TEST(CloudPlan, ReadsThePolicyOnceAndRefusesWhatAwsWould) {
  Recipe recipe = *with("policy_file = \"policy.json\"\n");
  MemoryFolder folder = idf_project();
  EXPECT_EQ(plan_of(recipe, folder, {.folder = &folder}).error().code, Code::input_missing);
  folder.put("policy.json", "{\"Version\": \"2012-10-17\", \"Statement\": []}");
  auto plan = plan_of(recipe, folder, {.folder = &folder});
  ASSERT_TRUE(plan) << describe(plan.error());
  EXPECT_EQ(plan->aws->policy_text, "{\"Version\": \"2012-10-17\", \"Statement\": []}");
  EXPECT_TRUE(has(notes_of(*plan), "policy thermostat-device (policy.json)")) << notes_of(*plan);
  for (const std::string& text :
       {std::string{"Version: x"}, std::string{"[]"}, std::string{}, "{\"a\": \"" + std::string(2041, 'x') + "\"}"}) {
    auto refused = plan_of(recipe, folder.put("policy.json", text), {.folder = &folder});
    ASSERT_FALSE(refused) << text;
    EXPECT_EQ(refused.error().code, Code::cloud_refused) << describe(refused.error());
  }
  std::string largest = "{\"a\": \"" + std::string(2040, 'x') + "\"}" + std::string(4000, ' ');
  EXPECT_TRUE(plan_of(recipe, folder.put("policy.json", largest), {.folder = &folder})) << "white space does not count";
}

// ---------------------------------------------------------------- keys that AWS makes

TEST(CloudRecipe, WhereAwsMakesKeysHasRsaAndAWarning) {
  Plan plan = plan_with("issuance = \"aws-keys\"\n");
  EXPECT_EQ(plan.key, "rsa-2048");
  EXPECT_TRUE(has(notes_of(plan), "crosses the network and is RSA-2048")) << notes_of(plan);
  EXPECT_FALSE(has(notes_of(plan_with("")), "RSA"));
  EXPECT_EQ(plan_with("").key, "ec-p256");
  auto both = [](const char* key) {
    return parse("[identity]\nissuer = \"aws\"\nkey = \"" + std::string{key} +
                 "\"\n[cloud.aws]\nissuance = \"aws-keys\"\n");
  };
  EXPECT_TRUE(fault_in(both("ec-p256"), Code::recipe_invalid, "3:7", "rsa-2048"));
  EXPECT_TRUE(both("rsa-2048"));
}

// ---------------------------------------------------------------- what reaches a board

TEST(CloudPlan, GivesBoardsTheFilesThatFirmwareInTheFieldReads) {
  Plan plan = plan_with("");
  ASSERT_TRUE(plan.has_identity());
  EXPECT_EQ(files_on(plan.images.front(), values_of("x-ats.iot.eu-central-1.amazonaws.com")),
            (std::map<std::string, std::string>{{"certificate.pem.crt", "CERT\n"},
                                                {"private.pem.key", "KEY\n"},
                                                {"aws-root-ca.pem", "ROOT\n"},
                                                {"endpoint.txt", "x-ats.iot.eu-central-1.amazonaws.com"},
                                                {"thing.txt", "th-1"}}));
  std::map<std::string, std::string> entries;
  plan = plan_with("[[image]]\npartition = \"nvs\"\nformat = \"nvs\"\n");
  for (const ImageEntry& entry : plan.images.front().entries)
    entries[entry.space + "." + entry.key] = entry.content.text;
  EXPECT_EQ(entries.size(), 5u);
  EXPECT_EQ(entries["identity.endpoint"], "{endpoint}");
  EXPECT_EQ(entries["identity.thing"], "{thing}");
}

TEST(CloudPlan, BuildsNoBoardThatWouldReachNobody) {
  Plan plan = plan_with("");
  auto there = build_on_trial(plan, plan.images.front(), values_of("x.amazonaws.com"), {}, {});
  EXPECT_TRUE(there) << describe(there.error());
  auto unknown = build_on_trial(plan, plan.images.front(), values_of(""), {}, {});
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, Code::cloud_unreachable);
  EXPECT_TRUE(has(describe(unknown.error()), "data_endpoint")) << describe(unknown.error());
}

TEST(CloudPlan, OfALocalIssuerHasNoEndpointButAThing) {
  auto with_file = [](const char* text) {
    return plan_of(*parse("[[image]]\nfiles = { \"a.txt\" = \"" + std::string{text} + "\" }\n"));
  };
  auto plan = with_file("{endpoint}");
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().code, Code::recipe_invalid);
  EXPECT_TRUE(has(describe(plan.error()), "issuer is local")) << describe(plan.error());
  plan = with_file("{thing} {mac}");
  ASSERT_TRUE(plan) << describe(plan.error());
  EXPECT_EQ(files_on(plan->images.front(), values_of(""))["a.txt"], "th-1 24d7eb123456");
  EXPECT_TRUE(has(check_template("{endpont}"), "{endpoint}"));
}

TEST(CloudPlan, HoldsAnotherEndpointForNoChangeOfABoardAndAnotherThingForOne) {
  Plan plan = plan_with("");
  const ImagePlan& image = plan.images.front();
  auto built = build_board_image(image, values_of("old.amazonaws.com"), {}, {}, {});
  OnBoard there{built->front().bytes.duplicate(), {}};
  auto is_its_key = [](const Secret&) { return true; };
  BoardValues same = values_of("new.amazonaws.com"), other = values_of("old.amazonaws.com");
  other.id = "th-2";
  // The file has no PEM to find the key in: the test is of the other files.
  Plan without_key = plan;
  std::erase_if(without_key.images.front().files, [](const ImageFile& file) { return file.path == "private.pem.key"; });
  EXPECT_EQ(difference_on_board(without_key.images.front(), same, {}, there, is_its_key), std::nullopt);
  EXPECT_TRUE(
      has(difference_on_board(without_key.images.front(), other, {}, there, is_its_key).value_or(""), "thing.txt"));
}

TEST(CloudPlan, IsAnotherOneWhereBoardsWouldBeAndNotWhereOnlyTheCloudIs) {
  const Sha256 digest = plan_with("").digest;
  EXPECT_NE(plan_of(default_recipe())->digest, digest);
  for (const char* shapes : {"region = \"eu-west-1\"\n", "data_endpoint = \"a.b\"\n",
                             "root_ca = \"amazon-root-ca-3\"\n", "issuance = \"own-ca\"\n"})
    EXPECT_NE(plan_with(shapes).digest, digest) << shapes;
  for (const char* leaves : {"backlog = 7\n", "thing_type = \"t\"\n", "policy_name = \"p\"\n", "adopt = true\n",
                             "attributes = { a = \"b\" }\n", "groups = [\"g\"]\n", "profile = \"p\"\n",
                             "topic_prefix = \"t\"\n", "endpoint_url = \"http://localhost:5000\"\n"})
    EXPECT_EQ(plan_with(leaves).digest, digest) << leaves;
  Recipe recipe = *with("root_ca = \"ca/root.pem\"\n");
  MemoryFolder folder = idf_project().put("ca/root.pem", "A");
  auto one = plan_of(recipe, folder, {.folder = &folder});
  ASSERT_TRUE(one) << describe(one.error());
  EXPECT_EQ(one->aws->root_ca_text, "A");
  folder.put("ca/root.pem", "B");
  EXPECT_NE(plan_of(recipe, folder, {.folder = &folder})->digest, one->digest);
}

TEST(CloudPlan, HasRoomForALargeRootCaOfTheRecipe) {
  Recipe recipe = *with("root_ca = \"root.pem\"\n");
  MemoryFolder folder = idf_project().put("root.pem", std::string(60'000, 'x'));
  auto plan = plan_of(recipe, folder, {.folder = &folder});
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().code, Code::image_no_space);
  plan = plan_of(recipe, folder.put("root.pem", std::string(70'000, 'x')), {.folder = &folder});
  EXPECT_EQ(plan.error().code, Code::input_invalid);
}

TEST(CloudPlan, SaysWhichPemIsTooLongForOldFirmware) {
  Plan plan = plan_with("");
  BoardValues values = values_of("e");
  EXPECT_TRUE(notes_on_long_pem(plan, values, false).empty());
  values.root_ca_pem = std::string(2047, 'r');
  EXPECT_TRUE(notes_on_long_pem(plan, values, false).empty());
  values.root_ca_pem += "r";
  values.certificate_pem = std::string(3000, 'c');
  auto shared = notes_on_long_pem(plan, values, false), own = notes_on_long_pem(plan, values, true);
  ASSERT_EQ(shared.size(), 1u);
  EXPECT_TRUE(has(shared.front(), "aws-root-ca.pem has 2048 bytes")) << shared.front();
  ASSERT_EQ(own.size(), 1u);
  EXPECT_TRUE(has(own.front(), "certificate.pem.crt has 3000 bytes")) << own.front();
}

}  // namespace
}  // namespace espmint
