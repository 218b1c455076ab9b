#!/usr/bin/env python3
"""docs/aws.md, its two IAM policies and the operations that src/cloud/aws calls say the same.

  aws_policies_test.py SOURCE_DIR [CODE_DIR]     CODE_DIR: whose src/cloud/aws is read (SOURCE_DIR)
"""
import json
import pathlib
import re
import sys
import unittest

TOP = CODE = None
LINE = ("aws_cloud.cpp",)  # what a line calls; the rest is a person's: setup, doctor


def policy(name):
    return json.loads((TOP / "docs/aws" / (name + "-policy.json")).read_text())


def actions(name):
    found = []
    for statement in policy(name)["Statement"]:
        found += statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
    return found


def without_comments(text):
    return re.sub(r"//[^\n]*", "", text)


def operations_by_function():
    """{"create_thing": {"CreateThing"}}: each function of Iot with the operations that it calls, also through others."""
    text = without_comments((CODE / "src/cloud/aws/iot.cpp").read_text())
    heads = list(re.finditer(r"^\S[^;{}()]*\bIot::(\w+)\(", text, re.M))
    direct, calls = {}, {}
    for head, after in zip(heads, heads[1:] + [None]):
        body = text[head.end():after.start() if after else len(text)]
        direct.setdefault(head.group(1), set()).update(re.findall(r'call_of\(\s*"([A-Z]\w+)"', body))
        direct[head.group(1)].update(re.findall(r'operation\s*=\s*"([A-Z]\w+)"', body))
        calls.setdefault(head.group(1), set()).update(re.findall(r"\b(\w+)\(", body))
    names = set(direct)
    while True:
        grown = {name: direct[name].union(*(direct[other] for other in calls[name] & names)) for name in names}
        if grown == direct:
            return direct
        direct = grown


def operations_used_in(files):
    functions, used = operations_by_function(), set()
    for file in files:
        text = without_comments(file.read_text())
        for name in re.findall(r"\biot_?(?:\.|->)(\w+)\(", text):
            used |= functions[name]
        used |= set(re.findall(r'call_of\(\s*"([A-Z]\w+)"', text))
        used |= set(re.findall(r'operation\s*=\s*"([A-Z]\w+)"', text))
    return used


def sources(wanted):
    folder = CODE / "src/cloud/aws"
    return [file for file in sorted(folder.glob("*.cpp")) if wanted(file.name) and not re.search(r"_(test|bench|fuzz)\.cpp$", file.name)]


class Policies(unittest.TestCase):
    def test_are_whole_and_name_each_action_once(self):
        for name in ("station", "admin"):
            document = policy(name)
            self.assertEqual(document["Version"], "2012-10-17")
            for statement in document["Statement"]:
                self.assertEqual(set(statement), {"Sid", "Effect", "Action", "Resource"})
                self.assertEqual(statement["Effect"], "Allow")
            found = actions(name)
            self.assertEqual(len(found), len(set(found)), name)
            for action in found:
                self.assertRegex(action, r"^iot:[A-Z]\w+$", "no wildcard")
            self.assertLess(len(json.dumps(document, separators=(",", ":"))), 6144, "of a managed policy")

    def test_of_the_station_deletes_nothing_and_makes_no_policy(self):
        for action in actions("station"):
            self.assertNotRegex(action, r"^iot:(Delete|CreatePolicy|SetDefaultPolicy|CreateThingType|CreateProvisioning|RegisterCA)", action)

    def test_are_what_the_page_shows(self):
        shown = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", (TOP / "docs/aws.md").read_text(), re.S)]
        self.assertEqual(shown, [policy("station"), policy("admin")])


class Code(unittest.TestCase):
    def setUp(self):
        if not (CODE / "src/cloud/aws/iot.cpp").exists():
            self.skipTest("no src/cloud/aws/iot.cpp yet")

    def test_was_understood(self):
        functions = operations_by_function()
        self.assertGreater(len(functions), 20)
        self.assertEqual(functions["create_thing"], {"CreateThing"})

    def test_of_the_line_calls_exactly_what_the_station_may(self):
        used = operations_used_in(sources(lambda name: name in LINE))
        self.assertGreater(len(used), 10)
        self.assertEqual({"iot:" + operation for operation in used}, set(actions("station")))

    def test_of_setup_and_doctor_calls_exactly_what_the_admin_may(self):
        used = operations_used_in(sources(lambda name: name not in LINE and name != "iot.cpp"))
        # The admin asks for the endpoint as every command does at its start.
        self.assertEqual({"iot:" + operation for operation in used} | {"iot:DescribeEndpoint"}, set(actions("admin")))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    TOP = CODE = pathlib.Path(sys.argv.pop(1))
    if len(sys.argv) > 1:
        CODE = pathlib.Path(sys.argv.pop(1))
    unittest.main()
