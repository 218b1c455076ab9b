#!/usr/bin/env python3
"""Files for others, through the real program; those for Mosquitto are given to a Mosquitto, and boards meet it.

  cloud_export_test.py ESPMINT [UNITTEST WORDS ...]
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import broker as brokers
import cli_test as cli
from cli_test import Boards, espmint

RECIPE = '[product]\nname = "lamp"\n[identity]\nsave_private_key = true\n'
MADE = None  # a state folder with three VERIFIED boards whose keys were kept; tests take copies of it


class ExportTest(cli.CommandLineTest):
    def setUp(self):
        super().setUp()
        shutil.copytree(MADE, self.state, symlinks=True)
        self.ids = sorted(device["id"] for device in self.devices())
        self.out = self.folder / "out"

    def export(self, kind, *words):
        outcome = espmint("cloud", "export", kind, "-o", self.out, "--json", *words, state=self.state)
        self.assert_good(outcome)
        for name in outcome.events[-1]["files"]:
            self.assertNotIn("PRIVATE KEY", (self.out / name).read_text(), name)
        return outcome.events[-1]

    def lines(self, name):
        return [json.loads(line) for line in (self.out / name).read_text().splitlines()]

    def revoke(self, subject, *words):
        outcome = espmint("ca", "revoke", subject, "--json", *words, state=self.state)
        self.assert_good(outcome)
        return outcome.events

    def request(self, name):
        """A key and a request as a chip or a broker makes them."""
        key, csr = self.folder / (name + ".key"), self.folder / (name + ".csr")
        subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(key),
                        "-subj", "/CN=" + name, "-out", str(csr)], check=True, capture_output=True)
        return key, csr


class Files(ExportTest):
    def test_hold_the_verified_boards_and_no_others(self):
        self.revoke(self.ids[2])
        for kind, file, id_of in (("bulk", "boards.jsonl", lambda line: line["ThingName"]),
                                  ("azure-dps", "enrollments.jsonl", lambda line: line["registrationId"]),
                                  ("thingsboard", "devices.jsonl", lambda line: line["device"]["name"])):
            with self.subTest(kind):
                told = self.export(kind)
                self.assertEqual(sorted(id_of(line) for line in self.lines(file)), self.ids[:2])
                self.assertEqual((told["devices"], told["left_out"]["revoked"]), (2, 1))
                self.assertEqual(sorted(told["files"]), sorted(file.name for file in self.out.iterdir()))
                shutil.rmtree(self.out)

    def test_for_aws_name_the_policy_and_the_type(self):
        self.export("bulk", "--thing-type", "lamps", "--attribute", "owner=line-3", "--group", "berlin")
        template = json.loads((self.out / "template.json").read_text())
        self.assertEqual(template["Resources"]["policy"]["Properties"]["PolicyName"], "lamp-device")
        self.assertEqual(template["Resources"]["thing"]["Properties"]["AttributePayload"], {"espmint": "lamp", "owner": "line-3"})

    def test_are_refused_for_words_that_would_be_refused_there(self):
        for words in (("bulk", "--attribute", "owner=My Co"), ("bulk", "--attribute", "owner"), ("jitp", "--policy", "a b"),
                      ("mosquitto", "--prefix", "dev/#"), ("mosquitto", "--listen", "8883\nallow_anonymous true"), ("carrier-pigeon",)):
            with self.subTest(words):
                self.assert_fault(espmint("cloud", "export", *words, "-o", self.out, state=self.state), 2, "usage")
                self.assertFalse(self.out.exists())
        self.assert_fault(espmint("cloud", "export", "mosquito", "-o", self.out, state=self.state), 2, "usage", "mosquitto")
        self.assert_fault(espmint("cloud", "export", "bulk", "-o", self.out, state=self.folder / "none"), 6, "ledger-missing")


class Revoking(ExportTest):
    def crl(self):
        return subprocess.run(["openssl", "crl", "-in", str(self.state / "ca/ca.crl.pem"), "-noout", "-text", "-CAfile",
                               str(self.state / "ca/ca.cert.pem")], capture_output=True, text=True)

    def test_is_durable_and_may_be_said_twice(self):
        first = self.revoke(self.ids[0], "--reason", "key-compromise")
        self.assertEqual([event["event"] for event in first], ["revoked", "crl"])
        self.assertFalse(first[0]["already"])
        again = self.revoke(self.ids[0])
        self.assertTrue(again[0]["already"])
        self.assertEqual(again[0]["reason"], "key-compromise")
        self.assertGreater(again[1]["number"], first[1]["number"])
        self.assertEqual(again[1]["revoked"], 1)
        seen = self.crl()
        self.assertIn("verify OK", seen.stderr)
        self.assertIn(first[0]["serial"].upper(), seen.stdout.replace(":", ""))
        self.assertEqual(len((self.state / "ca/revoked.jsonl").read_text().splitlines()), 1)

    def test_is_known_to_the_line(self):
        state, folder = self.folder / "line", self.folder / "lamp"
        folder.mkdir()
        (folder / "recipe.toml").write_text(RECIPE + '[firmware]\npath = "%s"\n' % cli.FIRMWARE)
        port = ("--port", cli.BOARDS.take()["rfc2217"], "--json")
        self.assert_good(espmint("prepare", folder, *port, state=state))
        board = self.devices(state)[0]
        self.assertIsNone(espmint("ca", "revoke", board["id"], "--json", state=state).events[0]["ledger_fault"])
        self.assertEqual(self.devices(state)[0]["state"], "REVOKED")
        held = espmint("run", folder, *port, "--count", "1", state=state, timeout=60)
        self.assertEqual((held.code, held.events[-1]["event"]), (1, "summary"), str(held))
        self.assertIn("board-held", held.out)
        self.assert_good(espmint("prepare", folder, *port, state=state, timeout=60))
        again = self.devices(state)[0]
        self.assertEqual((again["state"], again["id"]), ("VERIFIED", board["id"]))
        self.assertNotEqual(again["certificate_sha256"], board["certificate_sha256"])

    def test_finds_a_board_by_mac_or_by_its_certificate(self):
        device = self.devices()[0]
        by_mac = self.revoke(":".join(device["mac"][i:i + 2] for i in range(0, 12, 2)))
        self.assertEqual(by_mac[0]["certificate_sha256"], device["certificate_sha256"])
        self.assertTrue(self.revoke(device["certificate_sha256"])[0]["already"])
        self.assert_fault(espmint("ca", "revoke", "24d7eb999999", state=self.state), 2, "usage", "24d7eb999999", "device list")
        self.assert_fault(espmint("ca", "revoke", self.ids[0], "--reason", "theft", state=self.state), 2, "usage", "theft", "key-compromise")

    def test_covers_what_the_ledger_burned(self):
        state = self.folder / "renewed"
        folder = self.folder / "lamp"
        folder.mkdir()
        (folder / "recipe.toml").write_text(RECIPE + '[firmware]\npath = "%s"\n' % cli.FIRMWARE)
        board = cli.BOARDS.take()
        words = ("prepare", folder, "--port", board["rfc2217"], "--json")
        self.assert_good(espmint(*words, state=state))
        before = self.devices(state)[0]["certificate_sha256"]
        self.assert_good(espmint(*words, "--renew", state=state))
        outcome = espmint("ca", "crl", "--json", "-o", self.folder / "list.pem", state=state)
        self.assert_good(outcome)
        self.assertEqual(outcome.events[0]["revoked"], 1)
        self.assertIn("BEGIN X509 CRL", (self.folder / "list.pem").read_text())
        told = espmint("ca", "revoke", before, "--json", state=state).events[0]
        self.assertTrue(told["already"])
        self.assertEqual(told["reason"], "superseded")

    def test_stops_at_a_record_that_was_cut(self):
        self.revoke(self.ids[0])
        record = self.state / "ca/revoked.jsonl"
        record.write_bytes(record.read_bytes()[:-4])
        for words in (("ca", "crl"), ("ca", "revoke", self.ids[1]), ("cloud", "export", "mosquitto", "-o", self.out)):
            self.assert_fault(espmint(*words, state=self.state), 3, "ca-invalid", "revoked.jsonl", "line 1")


class Issuing(ExportTest):
    def test_signs_a_chips_request_once(self):
        _, csr = self.request("24d7eb0000aa")
        first = espmint("ca", "issue", "--csr", csr, "-o", self.folder / "board.pem", "--json", state=self.state)
        self.assert_good(first)
        again = espmint("ca", "issue", "--csr", csr, "--json", state=self.state)
        self.assertEqual(again.events[0]["certificate_sha256"], first.events[0]["certificate_sha256"])
        self.assertTrue(again.events[0]["already"])
        seen = subprocess.run(["openssl", "verify", "-CAfile", str(self.state / "ca/ca.cert.pem"), "-purpose", "sslclient", str(self.folder / "board.pem")],
                              capture_output=True, text=True)
        self.assertEqual(seen.returncode, 0, seen.stderr)
        # Another key for the same device only when the first is taken back.
        self.request("24d7eb0000aa")
        self.assert_fault(espmint("ca", "issue", "--csr", csr, state=self.state), 6, "ledger-refused", "24d7eb0000aa", "ca revoke")
        self.revoke("24d7eb0000aa")
        self.assert_good(espmint("ca", "issue", "--csr", csr, state=self.state), "BEGIN CERTIFICATE")

    def test_names_the_place_of_the_revocation_list_where_the_ca_has_one(self):
        url, state = "http://pki.example.com/ca.crl", self.folder / "placed"
        self.assert_fault(espmint("ca", "init", "--crl-url", "pki.example.com", state=state), 2, "usage", "pki.example.com")
        self.assertFalse((state / "ca").exists())
        self.assert_good(espmint("ca", "init", "--crl-url", url, state=state))
        _, csr = self.request("24d7eb0000ab")
        self.assert_good(espmint("ca", "issue", "--csr", csr, "-o", self.folder / "board.pem", state=state))
        self.assert_good(espmint("ca", "crl", "--url", url, "-o", self.folder / "list.pem", state=state))
        checked = ["openssl", "verify", "-CAfile", str(state / "ca/ca.cert.pem"), "-crl_check", "-CRLfile", str(self.folder / "list.pem"),
                   str(self.folder / "board.pem")]
        self.assertEqual(subprocess.run(checked, capture_output=True).returncode, 0)
        self.assert_good(espmint("ca", "revoke", "24d7eb0000ab", state=state))
        self.assert_good(espmint("ca", "crl", "--url", url, "-o", self.folder / "list.pem", state=state))
        seen = subprocess.run(checked, capture_output=True, text=True)
        self.assertIn("certificate revoked", seen.stdout + seen.stderr)

    def test_makes_no_second_certificate_for_a_board_of_the_ledger(self):
        _, csr = self.request(self.ids[0])
        self.assert_fault(espmint("ca", "issue", "--csr", csr, state=self.state), 6, "ledger-refused", self.ids[0])

    def test_refuses_what_is_no_request_or_names_nobody(self):
        bad = self.folder / "bad.csr"
        for content in (b"", b"hello", b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", os.urandom(300)):
            bad.write_bytes(content)
            self.assert_fault(espmint("ca", "issue", "--csr", bad, state=self.state), 1, "certificate-invalid", "bad.csr")
        _, csr = self.request("a b")
        self.assert_fault(espmint("ca", "issue", "--csr", csr, state=self.state), 1, "certificate-invalid", "a b")
        self.assert_fault(espmint("ca", "issue", "--csr", self.folder / "none.csr", state=self.state), 3, "input-missing")
        self.assertFalse((self.state / "ca/issued.jsonl").exists())


@unittest.skipUnless(brokers.is_there(), "no mosquitto here")
class Mosquitto(ExportTest):
    def setUp(self):
        super().setUp()
        self.port = brokers.free_port()
        self.export("mosquitto", "--prefix", "dev", "--listen", "127.0.0.1:%d" % self.port)
        key, csr = self.request("localhost")
        shutil.copy(key, self.out / "server.key")
        self.assert_good(espmint("ca", "issue", "--server", "--csr", csr, "-o", self.out / "server.pem", state=self.state))
        self.broker = brokers.Broker(self.out, self.port, self.out / "mosquitto.conf", self.out / "ca.pem")
        self.broker.start()
        self.addCleanup(self.broker.stop)

    def identity(self, device):
        """What the board holds: certificate and key, as words for a client."""
        folder = self.folder / device
        if not folder.exists():
            self.assert_good(espmint("device", "export", device, "--files", folder, state=self.state))
        return {"cert": folder / "certificate.pem.crt", "key": folder / "private.pem.key"}

    def test_lets_each_board_in_on_its_own_topics_alone(self):
        one, two = self.ids[:2]
        for device in (one, two):
            for topic in ("dev/%s/hello" % device, "$aws/things/%s/shadow/update" % device):
                before = len(self.broker.lines)
                self.assertTrue(self.broker.echo(topic, "hi-" + device, **self.identity(device)), topic + self.broker.log())
                self.broker.wait_for("Sending PUBLISH to %s" % device, before)
        theirs = ["dev/%s/secret" % two, "$aws/things/%s/shadow/update" % two]
        with self.broker.subscribe(theirs, **self.identity(two)):
            for topic in theirs:
                told = self.publish(one, topic)
                self.assertIn("Denied PUBLISH from %s" % one, told)
                self.assertNotIn("Sending PUBLISH to", told)
        with self.broker.subscribe(["dev/#", "#", "$aws/things/+/shadow/#", *theirs], **self.identity(one)):
            for topic in theirs:
                told = self.publish(two, topic)
                self.assertIn("Received PUBLISH from %s" % two, told)
                self.assertNotIn("Denied", told)
                self.assertNotIn("Sending PUBLISH to", told)
                self.assertNotIn("Client %s" % one, told, "it must be there all the time")

    def publish(self, device, topic):
        """What the broker did from a board's message to the board's receipt: it delivers before it confirms."""
        before = len(self.broker.lines)
        self.broker.publish(topic, "for two alone", **self.identity(device))
        return "".join(self.broker.wait_for("Sending PUBACK to %s" % device, before))

    def test_lets_nobody_in_without_a_certificate_or_with_a_foreign_one(self):
        topic = "dev/%s/x" % self.ids[0]
        self.assertNotEqual(self.broker.publish(topic, "x"), 0)
        foreign = espmint("ca", "init", state=self.folder / "foreign")
        self.assert_good(foreign)
        key, csr = self.request(self.ids[0])
        self.assert_good(espmint("ca", "issue", "--csr", csr, "-o", self.folder / "foreign.pem", state=self.folder / "foreign"))
        self.assertNotEqual(self.broker.publish(topic, "x", cert=self.folder / "foreign.pem", key=key), 0)
        # A broker's certificate is no board's.
        self.assertNotEqual(self.broker.publish(topic, "x", cert=self.out / "server.pem", key=self.out / "server.key"), 0)

    def test_keeps_a_revoked_board_out(self):
        stolen, good = self.ids[:2]
        self.assertTrue(self.broker.echo("dev/%s/a" % stolen, "in", **self.identity(stolen)), self.broker.log())
        self.revoke(stolen, "--reason", "key-compromise")
        self.export("mosquitto", "--prefix", "dev", "--listen", "127.0.0.1:%d" % self.port)
        for again in (self.broker.reload, self.broker.restart):
            again()
            self.assertNotEqual(self.broker.publish("dev/%s/a" % stolen, "x", **self.identity(stolen)), 0)
            self.assertTrue(self.broker.echo("dev/%s/a" % good, "in", **self.identity(good)), self.broker.log())


def setUpModule():
    global MADE
    cli.FIRMWARE, MADE = cli.WORK / "firmware", cli.WORK / "made"
    (cli.WORK / "home").mkdir()
    made = espmint("sim", "firmware", cli.FIRMWARE, "--app-size", "64K")
    if made.code != 0:
        raise RuntimeError(str(made))
    folder = cli.WORK / "lamp"
    folder.mkdir()
    (folder / "recipe.toml").write_text(RECIPE + '[firmware]\npath = "%s"\n' % cli.FIRMWARE)
    cli.BOARDS = Boards(5, cli.WORK / "boards")
    words = [word for _ in range(3) for word in ("--port", cli.BOARDS.take()["rfc2217"])]
    made = espmint("prepare", folder, *words, state=MADE, timeout=60)
    if made.code != 0:
        raise RuntimeError(str(made))


def tearDownModule():
    if cli.BOARDS:
        cli.BOARDS.close()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    cli.PROGRAM = os.path.abspath(sys.argv.pop(1))
    if not brokers.is_there():
        print("no mosquitto with its clients here")
        sys.exit(brokers.SKIPPED)
    with tempfile.TemporaryDirectory(prefix="espmint-export-") as work:
        cli.WORK = pathlib.Path(work)
        sys.exit(not unittest.main(exit=False).result.wasSuccessful())
