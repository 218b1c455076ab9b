#!/usr/bin/env python3
"""Boards that are registered at AWS IoT, through the real program, at the virtual account of `espmint sim cloud`.

  aws_cli_test.py ESPMINT [UNITTEST WORDS ...]

What the account holds is read back by boto3 where it is here, and by the account's own words.
"""
import concurrent.futures
import json
import os
import pathlib
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request

import broker as brokers
import cli_test as cli
from cli_test import Boards, espmint

try:
    import boto3
    from botocore.config import Config
except ImportError:
    boto3 = None

RECIPE = """[product]
name = "lamp"
[firmware]
path = "%s"
[identity]
issuer = "aws"
save_private_key = %s
[cloud.aws]
thing_type = "lamps"
attributes = { owner = "line-3" }
%s
"""


class Cloud:
    """A virtual account in a process of its own."""

    def __init__(self, folder, *options):
        self.process = subprocess.Popen([cli.PROGRAM, "sim", "cloud", "--json", "--dir", str(folder), *options], stdout=subprocess.PIPE,
                                        text=True, env=cli.environment())
        self.told = json.loads(self.process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()

    def environment(self, who="station", **more):
        """`who`: station, temporary, expired, admin."""
        keys = self.told if who == "admin" else self.told[who]
        names = {"AWS_ENDPOINT_URL_IOT": self.told["endpoint"], "AWS_REGION": self.told["region"], "AWS_ACCESS_KEY_ID": keys["access_key_id"],
                 "AWS_SECRET_ACCESS_KEY": keys["secret_access_key"], "AWS_EC2_METADATA_DISABLED": "true"}
        if keys.get("session_token"):
            names["AWS_SESSION_TOKEN"] = keys["session_token"]
        names.update(more)
        return cli.environment(**names)

    def ask(self, path, body=None):
        request = urllib.request.Request(self.told["endpoint"] + path, data=json.dumps(body).encode() if body else None)
        return json.loads(urllib.request.urlopen(request).read())

    def state(self):
        return self.ask("/_sim/state")

    def faults(self, *texts):
        self.ask("/_sim/faults", {"faults": list(texts)})

    def boto3(self):
        return boto3.client("iot", region_name=self.told["region"], endpoint_url=self.told["endpoint"], aws_access_key_id=self.told["access_key_id"],
                            aws_secret_access_key=self.told["secret_access_key"], config=Config(retries={"max_attempts": 3}))


class AwsTest(cli.CommandLineTest):
    cloud_options = ()

    def setUp(self):
        super().setUp()
        self.cloud = Cloud(self.folder / "cloud", "--detach", "50", *self.cloud_options)
        self.addCleanup(self.cloud.__exit__)
        self.recipe = self.folder / "lamp"
        self.recipe.mkdir()
        self.write_recipe()

    def write_recipe(self, more="", keep="false"):
        (self.recipe / "recipe.toml").write_text(RECIPE % (cli.FIRMWARE, keep, more))

    def aws(self, *words, who="station", timeout=60, **more):
        return espmint(*words, state=self.state, timeout=timeout, env=self.cloud.environment(who, **more))

    def set_up(self):
        self.assert_good(self.aws("cloud", "setup", self.recipe, "--json", who="admin"))

    def prepare_board(self, board, *words, **more):
        outcome = self.aws("prepare", self.recipe, "--port", board["rfc2217"], "--json", *words, **more)
        self.assert_good(outcome)
        return [event for event in outcome.events if event["event"] == "done"][-1]

    def doctor(self, *words):
        outcome = self.aws("doctor", "--cloud", "--json", *words, who="admin")
        self.assert_calm(outcome)
        return outcome

    def assert_agreed(self):
        outcome = self.doctor()
        self.assertEqual(outcome.code, 0, str(outcome))
        self.assertEqual([event["level"] for event in outcome.events], ["ok"])

    def thing(self, name):
        return self.cloud.state()["things"][name]

    def assert_same_as_boto3(self):
        """AWS's own client lists what the ledger has, and nothing else."""
        if not boto3:
            self.skipTest("no boto3")
        client = self.cloud.boto3()
        devices = {device["id"]: device for device in self.devices() if device["state"] == "VERIFIED"}
        things = [thing for page in client.get_paginator("list_things").paginate() for thing in page["things"]]
        self.assertEqual(sorted(thing["thingName"] for thing in things), sorted(devices))
        certificates = [one for page in client.get_paginator("list_certificates").paginate() for one in page["certificates"]]
        self.assertEqual(sorted(one["certificateId"] for one in certificates), sorted(device["certificate_sha256"] for device in devices.values()))
        self.assertEqual({one["status"] for one in certificates}, {"ACTIVE"})
        for thing in things:
            principals = client.list_thing_principals(thingName=thing["thingName"])["principals"]
            self.assertEqual([arn.split("/")[1] for arn in principals], [devices[thing["thingName"]]["certificate_sha256"]])
            policies = client.list_attached_policies(target=principals[0])["policies"]
            self.assertEqual([policy["policyName"] for policy in policies], ["lamp-device"])
            self.assertEqual(thing["attributes"], {"espmint": "lamp", "owner": "line-3"})
            self.assertEqual(thing["thingTypeName"], "lamps")


class ABoard(AwsTest):
    def test_is_a_thing_with_its_certificate_and_policy_and_active(self):
        self.set_up()
        board = cli.BOARDS.take()
        done = self.prepare_board(board)
        self.assertEqual(done["verdict"], "VERIFIED")
        self.assert_agreed()
        self.assert_same_as_boto3()

    def test_costs_six_calls(self):
        self.set_up()
        self.prepare_board(cli.BOARDS.take())
        before = self.cloud.state()["calls"]
        self.prepare_board(cli.BOARDS.take())
        after = self.cloud.state()["calls"]
        spent = {name: count["received"] - before.get(name, {"received": 0})["received"] for name, count in after.items()}
        spent = {name: count for name, count in spent.items() if count and name not in ("DescribeEndpoint", "GetPolicy", "DescribeThingType")}
        self.assertEqual(spent, dict.fromkeys(("CreateCertificateFromCsr", "AttachPolicy", "CreateThing", "AttachThingPrincipal", "UpdateCertificate",
                                               "ListThingPrincipals"), 1))

    def test_holds_the_files_that_firmware_reads(self):
        self.set_up()
        board = cli.BOARDS.take()
        done = self.prepare_board(board)
        seen = espmint("sim", "read", board["flash_file"], "--json")
        files = [file["name"].lstrip("/") for event in seen.events if event["event"] == "partition" for file in event["files"]]
        for name in ("certificate.pem.crt", "private.pem.key", "aws-root-ca.pem", "endpoint.txt", "thing.txt"):
            self.assertIn(name, files)
        content = pathlib.Path(board["flash_file"]).read_bytes()
        self.assertIn(self.cloud.told["data_endpoint"].encode(), content)
        self.assertIn(done["mac"].encode(), content)

    def test_can_be_prepared_again_revoked_and_prepared_again_and_its_thing_stays(self):
        self.set_up()
        board = cli.BOARDS.take()
        first = self.prepare_board(board)
        if boto3:
            client = self.cloud.boto3()
            client.create_thing_group(thingGroupName="berlin")
            client.add_thing_to_thing_group(thingGroupName="berlin", thingName=first["mac"])
            client.update_thing(thingName=first["mac"], attributePayload={"attributes": {"room": "12"}, "merge": True})
        before = self.thing(first["mac"])
        self.assertEqual(self.prepare_board(board)["verdict"], "VERIFIED")  # as it is: nothing new
        self.assertEqual(len(self.cloud.state()["certificates"]), 1)
        second = self.prepare_board(board, "--renew")
        self.assertNotEqual(second.get("certificate_sha256"), first.get("certificate_sha256"))
        dry = self.aws("device", "revoke", first["mac"], "--dry-run", "--json")
        self.assert_good(dry)
        self.assertTrue(any(call.startswith("UpdateCertificate") for call in dry.events[-1]["calls"]))
        self.assert_good(self.aws("device", "revoke", first["mac"], "--json"))
        self.assertEqual({one["status"] for one in self.cloud.state()["certificates"].values()} - {"INACTIVE"}, set())
        self.assertEqual([one["state"] for one in self.devices()], ["REVOKED"])
        self.assert_good(self.aws("cloud", "sync", "--json"))  # nothing that would take it back is left to tell
        self.assertEqual({one["status"] for one in self.cloud.state()["certificates"].values()} - {"INACTIVE"}, set())
        # A line holds what somebody took back; whoever prepares the board by hand has decided.
        again = self.aws("run", self.recipe, "--port", board["rfc2217"], "--count", "1", "--json")
        done = [event for event in again.events if event["event"] == "done"][-1]
        self.assertEqual((again.code, done["verdict"], done["code"]), (1, "HELD", "board-held"))
        self.assertIn("revoked on", done["fault"])
        self.assertEqual(self.prepare_board(board)["verdict"], "VERIFIED")
        time.sleep(0.2)
        after = self.thing(first["mac"])
        for part in ("id", "attributes", "groups"):
            self.assertEqual(after[part], before[part], part)
        self.doctor("--fix")
        self.assert_agreed()
        self.assert_same_as_boto3_besides_attributes(first["mac"])

    def assert_same_as_boto3_besides_attributes(self, mac):
        state = self.cloud.state()
        active = [one for one, is_now in state["certificates"].items() if is_now["status"] == "ACTIVE"]
        self.assertEqual(active, [self.devices()[0]["certificate_sha256"]])

    def test_is_put_into_its_groups_with_the_rights_that_the_documents_give_a_station(self):
        if not boto3:
            self.skipTest("no boto3")
        rights = pathlib.Path(__file__).resolve().parent.parent / "docs/aws/station-policy.json"
        with Cloud(self.folder / "strict", "--station-policy", str(rights)) as cloud:
            self.write_recipe('groups = ["berlin"]')
            early = espmint("cloud", "check", self.recipe, "--json", state=self.state, env=cloud.environment(), timeout=60)
            self.assertEqual(early.code, 5, str(early))
            self.assert_good(espmint("cloud", "setup", self.recipe, state=self.state, env=cloud.environment("admin")))
            self.assert_good(espmint("cloud", "check", self.recipe, state=self.state, env=cloud.environment(), timeout=60))
            board = cli.BOARDS.take()
            outcome = espmint("prepare", self.recipe, "--port", board["rfc2217"], state=self.state, env=cloud.environment(), timeout=60)
            self.assert_good(outcome)
            self.assertEqual(cloud.boto3().list_thing_groups_for_thing(thingName=board["mac"])["thingGroups"][0]["groupName"], "berlin")

    def test_that_belongs_to_somebody_else_is_held(self):
        if not boto3:
            self.skipTest("no boto3")
        self.set_up()
        board = cli.BOARDS.take()
        self.cloud.boto3().create_thing(thingName=board["mac"], attributePayload={"attributes": {"owner": "them"}})
        outcome = self.aws("prepare", self.recipe, "--port", board["rfc2217"], "--json")
        self.assertEqual(outcome.code, 1, str(outcome))
        done = outcome.events[-1] if outcome.events[-1]["event"] == "done" else [e for e in outcome.events if e["event"] == "done"][-1]
        self.assertEqual((done["verdict"], done["code"]), ("HELD", "thing-foreign"))
        self.assertEqual(self.thing(board["mac"])["attributes"], {"owner": "them"})
        self.doctor("--fix")
        self.assertEqual(self.cloud.state()["certificates"], {})
        self.write_recipe("adopt = true")
        theirs = self.cloud.boto3().create_keys_and_certificate(setAsActive=True)
        self.cloud.boto3().attach_thing_principal(thingName=board["mac"], principal=theirs["certificateArn"])
        self.assertEqual(self.prepare_board(board)["verdict"], "VERIFIED")
        self.assertEqual(self.thing(board["mac"])["attributes"]["espmint"], "lamp")
        # Their certificate gave way to ours; it is theirs to delete, and the doctor does not forget it.
        self.assertEqual(self.cloud.state()["certificates"][theirs["certificateId"]]["status"], "INACTIVE")
        self.assertEqual(self.cloud.boto3().list_principal_things(principal=theirs["certificateArn"])["things"], [])
        for words in (["--fix"], []):
            seen = self.doctor(*words)
            self.assertEqual((seen.code, [event["level"] for event in seen.events]), (0, ["note"]))
            self.assertIn(f"{board['mac']}: foreign", seen.events[0]["what"])
        self.cloud.boto3().update_certificate(certificateId=theirs["certificateId"], newStatus="ACTIVE")
        self.assertEqual(self.doctor().code, 1)
        self.cloud.boto3().update_certificate(certificateId=theirs["certificateId"], newStatus="INACTIVE")
        self.cloud.boto3().delete_certificate(certificateId=theirs["certificateId"])
        self.assert_agreed()


class AProductThatMoves(AwsTest):
    """Made by the CA here, registered at AWS IoT later."""

    def last_done(self, outcome):
        return [event for event in outcome.events if event["event"] == "done"][-1]

    def test_gets_its_boards_new_identities_and_no_green_light_before(self):
        self.set_up()
        board = cli.BOARDS.take()
        self.assert_good(self.aws("prepare", self.recipe, "--issuer", "local", "--port", board["rfc2217"], "--json"))
        held = self.aws("prepare", self.recipe, "--port", board["rfc2217"], "--json")
        self.assertEqual((held.code, self.last_done(held)["code"]), (1, "board-held"), "AWS never heard of it")
        self.assertIn("--renew", self.last_done(held)["fault"])
        self.assertEqual(self.prepare_board(board, "--renew")["verdict"], "VERIFIED")
        self.assert_good(self.aws("cloud", "sync", "--json"))
        told = self.aws("cloud", "sync", "--dry-run", "--json")
        self.assertEqual([event for event in told.events if event["event"] == "intent"], [])
        self.assert_agreed()
        back = self.aws("prepare", self.recipe, "--issuer", "local", "--port", board["rfc2217"], "--json")
        self.assertEqual(self.last_done(back)["code"], "board-held")

    def test_finishes_no_board_with_what_another_issuer_began(self):
        self.set_up()
        board = cli.BOARDS.take()
        begun = cli.Running("prepare", self.recipe, "--issuer", "local", "--port", board["rfc2217"], "--json", state=self.state)
        begun.wait_for('"step":"evidence"')
        begun.process.kill()
        begun.end()
        if self.devices()[0]["state"] == "VERIFIED":
            self.skipTest("the kill was late")
        self.assertEqual(self.devices()[0]["state"], "WRITTEN")
        self.assertEqual(self.prepare_board(board)["verdict"], "VERIFIED")
        self.assertEqual([one["status"] for one in self.cloud.state()["certificates"].values()], ["ACTIVE"])
        self.assert_good(self.aws("cloud", "sync", "--json"))
        self.assert_agreed()

    def test_is_not_rehearsed_in_the_account(self):
        self.set_up()
        self.assert_fault(self.aws("run", self.recipe, "--trial", "--count", "1", "--port", cli.BOARDS.free[0]["rfc2217"]), 2, "usage", "trial", "--issuer local")
        self.assertEqual(self.cloud.state()["things"], {})

    def test_is_looked_at_by_the_doctor_without_being_told(self):
        self.set_up()
        self.prepare_board(cli.BOARDS.take())
        for words, subjects in (([], 1), (["--no-cloud"], 0)):
            looked = self.aws("doctor", "--json", *words, who="admin")
            self.assertEqual([event["subject"] for event in looked.events].count("cloud lamp"), subjects, words)

    def test_does_not_take_back_what_is_another_products(self):
        if not boto3:
            self.skipTest("no boto3")
        self.set_up()
        done = self.prepare_board(cli.BOARDS.take())
        self.cloud.boto3().update_thing(thingName=done["mac"], attributePayload={"attributes": {"espmint": "kettle"}, "merge": True})
        self.assert_fault(self.aws("device", "revoke", done["mac"]), 1, "thing-foreign", "--force")
        self.assertEqual([one["status"] for one in self.cloud.state()["certificates"].values()], ["ACTIVE"])
        self.assertEqual(self.devices()[0]["state"], "VERIFIED")
        self.assert_good(self.aws("device", "revoke", done["mac"], "--force"))


class ALine(AwsTest):
    BOARD_COUNT = 100

    def test_with_faults_on_every_second_call_makes_a_hundred_boards(self):
        self.write_recipe(keep="true")
        self.set_up()
        self.cloud.faults("cut-after@2")
        boards = Boards(self.BOARD_COUNT, self.folder / "boards", "--seed", "77")
        self.addCleanup(boards.close)
        words = [word for board in boards.free for word in ("--port", board["rfc2217"])]
        outcome = self.aws("run", self.recipe, "--json", "--count", str(self.BOARD_COUNT), *words, timeout=240)
        self.assertIn(outcome.code, (0, 1), str(outcome))
        verified = {event["mac"] for event in outcome.events if event.get("event") == "done" and event["verdict"] == "VERIFIED"}
        self.assertEqual(len(verified), self.BOARD_COUNT, str(outcome))
        self.cloud.faults("none")
        self.assert_good(self.aws("cloud", "sync", self.recipe, "--json"))
        self.assertEqual(sum(1 for one in self.cloud.state()["certificates"].values() if one["status"] == "ACTIVE"), self.BOARD_COUNT)
        self.doctor("--fix")
        time.sleep(0.2)
        self.assert_agreed()
        self.assert_same_as_boto3()
        self.assert_ledger_whole()
        self.assert_each_meets_a_broker()

    def assert_each_meets_a_broker(self):
        if not brokers.is_there():
            self.skipTest("no mosquitto")
        folder = self.folder / "broker"
        folder.mkdir()
        key, csr, cert = folder / "server.key", folder / "server.csr", folder / "server.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                        "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
        acl = folder / "acl"
        acl.write_text("pattern readwrite lamp/%u/#\n")
        port = brokers.free_port()
        conf = brokers.Broker.listener(folder, port, self.cloud.told["ca"], cert, key, acl=acl)
        ids = [device["id"] for device in self.devices()]
        files = {}
        for name in ids:
            out = folder / name
            self.assert_good(espmint("device", "export", name, "--files", out, state=self.state))
            files[name] = (out / "certificate.pem.crt", out / "private.pem.key")
        with brokers.Broker(folder, port, conf, ca=cert) as broker:
            def meet(at):
                name, other = ids[at], ids[(at + 1) % len(ids)]
                say = lambda topic, patience: broker.echo("lamp/%s/hello" % topic, "i-am-" + name, *files[name], name, seconds=patience)
                return name, say(name, 10), say(other, 1)

            with concurrent.futures.ThreadPoolExecutor(10) as many:
                for name, heard_itself, heard_at_another in many.map(meet, range(len(ids))):
                    self.assertTrue(heard_itself, name + "\n" + broker.log())
                    self.assertFalse(heard_at_another, name + "\n" + broker.log())


class Demo(AwsTest):
    def test_goes_where_the_environment_says(self):
        outcome = self.aws("demo", "--once", "--issuer", "aws", "--boards", "2", "--json", who="admin", timeout=120)
        self.assert_good(outcome)
        self.assertEqual(outcome.events[-1]["verified"], 2)
        self.assertEqual(outcome.events[-1]["active_at_cloud"], 2)
        self.assertEqual(sum(1 for one in self.cloud.state()["certificates"].values() if one["status"] == "ACTIVE"), 2)
        again = self.aws("demo", "--once", "--issuer", "aws", "--boards", "2", "--json", who="admin", timeout=120)
        self.assert_good(again)
        self.assertEqual(len(self.cloud.state()["things"]), 2, "the same boards are the same things")

    def test_needs_no_account(self):
        outcome = espmint("demo", "--once", "--issuer", "aws", "--boards", "2", "--json", timeout=120)
        self.assert_good(outcome)
        self.assertEqual(outcome.events[-1]["active_at_cloud"], 2)


class BadInput(AwsTest):
    """One sentence, exit 5, no board consumed."""

    def assert_refused(self, outcome, code, *wanted):
        self.assert_fault(outcome, 5, code, *wanted)
        self.assertEqual(self.cloud.state()["certificates"], {})

    def prepare_in(self, **more):
        return espmint("prepare", self.recipe, "--port", cli.BOARDS.free[0]["rfc2217"], state=self.state, timeout=60, **more)

    def test_wrong_keys(self):
        self.set_up()
        self.assert_refused(self.prepare_in(env=self.cloud.environment(AWS_SECRET_ACCESS_KEY="wrong")), "cloud-denied", "signature")
        self.assert_refused(self.prepare_in(env=self.cloud.environment(AWS_ACCESS_KEY_ID="AKIAIOSFODNN7EXAMPLE")), "cloud-denied")

    def test_an_expired_token(self):
        self.set_up()
        self.assert_refused(self.prepare_in(env=self.cloud.environment("expired")), "cloud-denied", "expired")

    def test_no_keys_and_no_region(self):
        env = self.cloud.environment()
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            env.pop(name)
        self.assert_refused(self.prepare_in(env=env), "credentials-missing", "AWS_ACCESS_KEY_ID")
        env = self.cloud.environment()
        env.pop("AWS_REGION")
        self.assert_refused(self.prepare_in(env=env), "credentials-missing", "region")

    def test_a_wrong_region(self):
        self.set_up()
        self.assert_refused(self.prepare_in(env=self.cloud.environment(AWS_REGION="us-east-1")), "cloud-denied")

    def test_nothing_set_up(self):
        self.assert_refused(self.prepare_in(env=self.cloud.environment()), "cloud-refused", "cloud setup")

    def test_a_missing_permission_is_named(self):
        policy = self.folder / "little.json"
        policy.write_text(json.dumps({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": ["iot:Describe*", "iot:Get*", "iot:List*", "iot:CreateThing", "iot:CreateCertificateFromCsr", "iot:UpdateCertificate",
                                           "iot:DetachPolicy", "iot:DetachThingPrincipal"], "Resource": "*"}]}))
        with Cloud(self.folder / "other", "--station-policy", str(policy)) as cloud:
            self.assert_good(espmint("cloud", "setup", self.recipe, state=self.state, env=cloud.environment("admin")))
            checked = espmint("cloud", "check", self.recipe, "--json", state=self.state, env=cloud.environment(), timeout=60)
            self.assertEqual(checked.code, 5, str(checked))
            wrong = [event["what"] for event in checked.events if event["level"] == "wrong"]
            self.assertEqual(len(wrong), 1, str(checked))
            self.assertIn("iot:AttachPolicy", wrong[0])
            outcome = self.prepare_in(env=cloud.environment())
            self.assertEqual(outcome.code, 5, str(outcome))
            self.assertIn("iot:AttachPolicy", outcome.out + outcome.err)
            self.assertNotIn("ACTIVE", {one["status"] for one in cloud.state()["certificates"].values()})

    def test_a_portal_in_the_way_and_nobody_there(self):
        class Portal(socketserver.StreamRequestHandler):
            def handle(self):
                while self.rfile.readline().strip():
                    pass
                page = b"<html><body>Please log in</body></html>"
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(page), page))

        with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Portal) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            there = "http://127.0.0.1:%d" % server.server_address[1]
            self.assert_refused(self.prepare_in(env=self.cloud.environment(AWS_ENDPOINT_URL_IOT=there)), "cloud-reply-invalid")
            server.shutdown()
        self.assert_refused(self.prepare_in(env=self.cloud.environment(AWS_ENDPOINT_URL_IOT="http://127.0.0.1:1")), "cloud-unreachable")

    def test_names_that_aws_refuses_before_any_call(self):
        before = self.cloud.state()["calls"]
        for more, wanted in (('groups = ["My Co"]', "group"), ('policy_name = "a b"', "policy"), ("policy_name = \"%s\"" % ("p" * 129), "policy")):
            self.write_recipe(more)
            self.assert_refused(self.prepare_in(env=self.cloud.environment()), "cloud-refused", wanted)
        (self.recipe / "long.json").write_text(json.dumps({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "iot:Connect", "Resource": "arn:aws:iot:*:*:client/" + "x" * 2100}]}))
        self.write_recipe('policy_file = "long.json"')
        self.assert_refused(self.prepare_in(env=self.cloud.environment()), "cloud-refused", "2048")
        self.assertEqual(self.cloud.state()["calls"], before)

    def test_a_policy_that_allows_everything(self):
        (self.recipe / "all.json").write_text(json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}]}))
        self.write_recipe('policy_file = "all.json"')
        self.assert_refused(self.aws("cloud", "setup", self.recipe, who="admin"), "cloud-refused")
        self.assert_good(self.aws("cloud", "setup", self.recipe, "--i-know", who="admin"))

    def test_a_clock_that_is_off_is_put_right(self):
        self.set_up()
        self.cloud.faults("skew=1200")
        self.assertEqual(self.prepare_board(cli.BOARDS.take())["verdict"], "VERIFIED")


class Offline(AwsTest):
    def test_boards_of_our_own_ca_are_told_of_later(self):
        self.write_recipe('issuance = "own-ca"')
        self.set_up()
        self.prepare_board(cli.BOARDS.take())
        self.cloud.faults("cut-before@1:RegisterCertificateWithoutCA")
        outcome = self.aws("prepare", self.recipe, "--port", cli.BOARDS.take()["rfc2217"], "--json", timeout=100)
        self.assert_good(outcome)
        left = self.aws("cloud", "sync", self.recipe, "--dry-run", "--json")
        self.assertEqual([event["act"] for event in left.events], ["register", "policy", "thing", "attach", "activate", "retire"])
        # A line that starts while nobody can be reached: it knows the broker's name from the one before.
        outcome = self.aws("prepare", self.recipe, "--port", cli.BOARDS.take()["rfc2217"], "--json", timeout=100, AWS_ENDPOINT_URL_IOT="http://127.0.0.1:1")
        self.assert_good(outcome, "the line goes on without it")
        self.cloud.faults("none")
        synced = self.aws("cloud", "sync", self.recipe, "--json")
        self.assert_good(synced)
        self.assertEqual(synced.events[-1]["left"], 0)
        self.assert_agreed()
        self.assert_same_as_boto3()


def setUpModule():
    cli.setUpModule()


def tearDownModule():
    cli.tearDownModule()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    cli.PROGRAM = os.path.abspath(sys.argv.pop(1))
    cli.BOARD_COUNT = 24
    with tempfile.TemporaryDirectory(prefix="espmint-aws-") as work:
        cli.WORK = pathlib.Path(work)
        sys.exit(not unittest.main(exit=False).result.wasSuccessful())
