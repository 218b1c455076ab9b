// tests/swarm_cloud/shift.hpp: a shift of boards enrolled in a virtual AWS account, without boards and wires: what the
// ledger and the account are told is real, what the boards do is a dice's. Calls fail, replies are lost, processes die;
// the account lives on. At its end the doctor comes, and then nothing may be left that nobody knows.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "cloud/aws/aws_cloud.hpp"

namespace espmint::swarm_cloud {

struct ShiftOptions {
  std::uint64_t seed = 1;
  int boards = 300;
  double faults = 0.05;  // share of the calls that something befalls
  bool crashes = true;
  bool mishaps = true;  // boards are unplugged, never come back, are renewed
  aws::Issuance issuance = aws::Issuance::csr;
};

/// Summed over shifts; plain numbers, so that processes can send them to each other.
struct Tally {
  std::uint64_t shifts = 0, boards = 0, enrolments = 0, verified = 0, crashes = 0;
  std::uint64_t needed = 0, sent = 0;  // calls of the station
  std::uint64_t found = 0, fixed = 0;  // by the doctor
  std::uint64_t violations = 0;
  double line_cpu = 0, account_cpu = 0, doctor_cpu = 0;  // s
  double line_seconds = 0;                               // virtual
  void add(const Tally& other);
};

/// What was broken, in words; empty: nothing. `folder` is its own, and empty.
std::vector<std::string> run_shift(const ShiftOptions&, const std::filesystem::path& folder, Tally&);

}  // namespace espmint::swarm_cloud
