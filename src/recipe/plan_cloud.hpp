// recipe/plan_cloud.hpp: the part of a plan that says where and how boards are registered.
#pragma once

#include "recipe/make_plan.hpp"
#include "recipe/words.hpp"

namespace espmint {

/// Where the issuer is AWS: what the recipe says of it, with the names that it leaves out and the files that it names.
/// Faults: those of the recipe's files; cloud_refused for a policy that AWS would refuse.
Result<void> plan_cloud(const Recipe&, const PlanOptions&, Plan&);

/// What of it shapes a board, as text for digests: not its thing, its policy or whose profile asks for it.
std::string digest_text(const AwsPlan&);

/// Sentences on files of the plan that are longer than the buffer in which firmware in the field reads a PEM: those of
/// the root CA alone, which are the same for all boards, or with `own` those with a certificate or a key.
std::vector<std::string> notes_on_long_pem(const Plan&, const BoardValues&, bool own);

}  // namespace espmint
