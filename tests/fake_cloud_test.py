#!/usr/bin/env python3
"""The virtual cloud as AWS's own client sees it: boto3 against `espmint sim cloud`.

  fake_cloud_test.py ESPMINT [UNITTEST WORDS ...]

Runs with each Python of this machine that has boto3 (Debian's signs for the older service name); skipped (77) without.
"""
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest
import urllib.request

try:
    import boto3
    import botocore
    from botocore.config import Config
    from botocore.exceptions import ClientError, ConnectionError, HTTPClientError
except ImportError:
    boto3 = None

PROGRAM = None  # argv[1], made absolute
POLICY = json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "iot:Connect", "Resource": "arn:aws:iot:eu-central-1:123456789012:client/${iot:Connection.Thing.ThingName}",
     "Condition": {"Bool": {"iot:Connection.Thing.IsAttached": "true"}}},
    {"Effect": "Allow", "Action": "iot:Publish", "Resource": "arn:aws:iot:eu-central-1:123456789012:topic/dev/${iot:Connection.Thing.ThingName}/*"}]})


@contextlib.contextmanager
def cloud(*words):
    """A running cloud; what its line says."""
    program = subprocess.Popen([PROGRAM, "sim", "cloud", "--detach", "300", *map(str, words)], stdout=subprocess.PIPE, text=True)
    try:
        yield json.loads(program.stdout.readline())
    finally:
        program.stdout.close()
        program.send_signal(signal.SIGINT)
        if program.wait(timeout=20) != 0:
            raise AssertionError("sim cloud ended with %d" % program.returncode)


def client(said, key=None, attempts=1, **more):
    key = key or said
    words = dict(region_name=said["region"], aws_access_key_id=key["access_key_id"], aws_secret_access_key=key["secret_access_key"])
    words.update(more)
    return boto3.client("iot", endpoint_url=said["endpoint"], config=Config(
        retries={"total_max_attempts": attempts, "mode": "standard"}, connect_timeout=5, read_timeout=20), **words)


def state(said):
    with urllib.request.urlopen(said["endpoint"] + "/_sim/state", timeout=20) as reply:
        return json.load(reply)


def set_faults(said, *faults):
    body = json.dumps({"faults": faults}).encode()
    urllib.request.urlopen(urllib.request.Request(said["endpoint"] + "/_sim/faults", data=body, method="POST"), timeout=20).close()


class VirtualCloud(unittest.TestCase):
    def csr(self, name):
        with tempfile.TemporaryDirectory(prefix="espmint-csr-") as folder:
            key, csr = (str(pathlib.Path(folder) / file) for file in ("key.pem", "csr.pem"))
            subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
                            "-out", csr, "-subj", "/CN=" + name], check=True, capture_output=True, timeout=30)
            return pathlib.Path(csr).read_text()

    def refused(self, code, call, status=None, **words):
        with self.assertRaises(ClientError) as caught:
            call(**words)
        self.assertEqual(caught.exception.response["Error"]["Code"], code)
        if status:
            self.assertEqual(caught.exception.response["ResponseMetadata"]["HTTPStatusCode"], status)
        return caught.exception.response

    def test_a_board_is_enrolled_and_revoked(self):
        with cloud() as said:
            iot = client(said)
            iot.create_policy(policyName="device_1+=,.@-", policyDocument=POLICY)
            iot.create_thing_type(thingTypeName="board", thingTypeProperties={"thingTypeDescription": "made here"})
            endpoint = iot.describe_endpoint(endpointType="iot:Data-ATS")["endpointAddress"]
            self.assertRegex(endpoint, r"^a[a-z0-9]{13}-ats\.iot\.eu-central-1\.amazonaws\.com$")
            self.assertEqual(endpoint, said["data_endpoint"])

            made = iot.create_certificate_from_csr(certificateSigningRequest=self.csr("24:d7:eb:12:34:56"), setAsActive=False)
            arn, number = made["certificateArn"], made["certificateId"]
            thing = iot.create_thing(thingName="24:d7:eb:12:34:56", thingTypeName="board", attributePayload={"attributes": {"owner": "a@b.c"}})
            iot.attach_policy(policyName="device_1+=,.@-", target=arn)
            iot.attach_thing_principal(thingName="24:d7:eb:12:34:56", principal=arn)
            iot.update_certificate(certificateId=number, newStatus="ACTIVE")
            described = iot.describe_certificate(certificateId=number)["certificateDescription"]
            self.assertEqual(described["status"], "ACTIVE")
            self.assertEqual(described["validity"]["notAfter"].year, 2049)
            again = iot.describe_thing(thingName="24:d7:eb:12:34:56")
            self.assertEqual((again["thingId"], again["attributes"], again["version"]), (thing["thingId"], {"owner": "a@b.c"}, 1))
            self.assertEqual(iot.list_thing_principals(thingName="24:d7:eb:12:34:56")["principals"], [arn])
            self.assertEqual(iot.list_principal_things(principal=arn)["things"], ["24:d7:eb:12:34:56"])
            self.assertEqual([p["policyName"] for p in iot.list_attached_policies(target=arn)["policies"]], ["device_1+=,.@-"])
            self.assertEqual(iot.list_targets_for_policy(policyName="device_1+=,.@-")["targets"], [arn])
            with tempfile.NamedTemporaryFile("w", suffix=".pem") as leaf:
                leaf.write(made["certificatePem"])
                leaf.flush()
                subprocess.run(["openssl", "verify", "-CAfile", said["ca"], leaf.name], check=True, capture_output=True, timeout=30)

            self.refused("DeleteConflictException", iot.delete_policy, 409, policyName="device_1+=,.@-")
            self.refused("CertificateStateException", iot.delete_certificate, 406, certificateId=number)
            iot.update_certificate(certificateId=number, newStatus="REVOKED")
            self.refused("DeleteConflictException", iot.delete_certificate, 409, certificateId=number)
            iot.detach_policy(policyName="device_1+=,.@-", target=arn)
            iot.detach_thing_principal(thingName="24:d7:eb:12:34:56", principal=arn)
            for _ in range(100):
                if not iot.list_thing_principals(thingName="24:d7:eb:12:34:56")["principals"]:
                    break
            self.assertEqual(set(state(said)["certificates"]), {number})

    def test_errors_are_the_ones_clients_know(self):
        with cloud() as said:
            iot = client(said)
            iot.create_thing(thingName="a", attributePayload={"attributes": {"owner": "x"}})
            response = self.refused("ResourceAlreadyExistsException", iot.create_thing, 409, thingName="a")
            self.assertEqual(response["resourceId"], "a")
            self.assertTrue(response["resourceArn"].endswith(":thing/a"))
            self.refused("ResourceNotFoundException", iot.describe_thing, 404, thingName="none")
            self.refused("InvalidRequestException", iot.create_thing, 400, thingName="My Co")
            self.refused("MalformedPolicyException", iot.create_policy, 400, policyName="p", policyDocument="{}")
            self.refused("InvalidRequestException", iot.create_certificate_from_csr, 400, certificateSigningRequest="none")
            self.refused("VersionConflictException", iot.update_thing, 409, thingName="a", expectedVersion=7,
                         attributePayload={"attributes": {"b": "c"}, "merge": True})
            iot.create_policy(policyName="p", policyDocument=POLICY)
            self.refused("ResourceAlreadyExistsException", iot.create_policy, 409, policyName="p", policyDocument=POLICY)
            for _ in range(4):
                iot.create_policy_version(policyName="p", policyDocument=POLICY)
            self.refused("VersionsLimitExceededException", iot.create_policy_version, 409, policyName="p", policyDocument=POLICY)

    def test_lists_come_in_pages(self):
        with cloud() as said:
            iot = client(said)
            csr = self.csr("a")
            made = [iot.create_certificate_from_csr(certificateSigningRequest=csr)["certificateId"] for _ in range(7)]
            pages = list(iot.get_paginator("list_certificates").paginate(ascendingOrder=True, PaginationConfig={"PageSize": 3}))
            self.assertEqual([row["certificateId"] for page in pages for row in page["certificates"]], made)
            self.assertEqual(len(pages), 3)
            for i in range(60):
                iot.create_thing(thingName="t%d" % i, attributePayload={"attributes": {"line": str(i % 2)}})
            names = [t["thingName"] for page in iot.get_paginator("list_things").paginate(attributeName="line", attributeValue="1", PaginationConfig={"PageSize": 20}) for t in page["things"]]
            self.assertEqual(sorted(names), sorted("t%d" % i for i in range(60) if i % 2))
            self.assertEqual(len(state(said)["things"]), 60)

    def test_who_is_nobody_gets_nowhere(self):
        with cloud() as said:
            wrong = dict(access_key_id=said["access_key_id"], secret_access_key="x" * 40)
            self.refused("InvalidSignatureException", client(said, wrong).list_things, 403)
            stranger = dict(access_key_id="AKIASTRANGER", secret_access_key="x" * 40)
            self.refused("UnrecognizedClientException", client(said, stranger).list_things, 403)
            self.refused("UnrecognizedClientException", client(said, aws_session_token="stale").list_things, 403)
            self.refused("InvalidSignatureException", client(said, region_name="us-east-1").list_things, 403)
            temporary, expired = (dict(key=said[name], aws_session_token=said[name]["session_token"]) for name in ("temporary", "expired"))
            client(said, **temporary).list_things()
            self.refused("ExpiredTokenException", client(said, **expired).list_things, 403)
            self.refused("UnrecognizedClientException", client(said, said["temporary"]).list_things, 403)
            set_faults(said, "skew=900")
            response = self.refused("InvalidSignatureException", client(said).list_things, 403)
            self.assertIn("Signature expired", response["Error"]["Message"])

    def test_the_station_may_not_make_policies(self):
        with cloud() as said:
            iot = client(said, said["station"])
            response = self.refused("AccessDeniedException", iot.create_policy, 403, policyName="p", policyDocument=POLICY)
            self.assertIn("is not authorized to perform: iot:CreatePolicy", response["Error"]["Message"])
            self.refused("AccessDeniedException", iot.delete_thing, 403, thingName="a")
            iot.create_thing(thingName="a")

    def test_a_throttled_client_that_waits_gets_through(self):
        with cloud("--fault", "throttle@3") as said:
            iot = client(said, attempts=8)
            for i in range(6):
                iot.create_thing(thingName="t%d" % i)
            calls = state(said)["calls"]["CreateThing"]
            self.assertEqual(calls["effective"], 6)
            self.assertGreaterEqual(calls["errors"]["ThrottlingException"], 2)
            set_faults(said, "throttle@1")
            self.refused("ThrottlingException", client(said).describe_thing, thingName="t0")

    def test_a_reply_that_is_cut_has_had_its_effect(self):
        with cloud("--fault", "cut-after@1") as said:
            with self.assertRaises((ConnectionError, HTTPClientError)):
                client(said).create_thing(thingName="a")
            self.assertIn("a", state(said)["things"])
            set_faults(said, "cut-before@1")
            with self.assertRaises((ConnectionError, HTTPClientError)):
                client(said).create_thing(thingName="b")
            self.assertNotIn("b", state(said)["things"])

    def test_faults_that_are_none_are_refused(self):
        ended = subprocess.run([PROGRAM, "sim", "cloud", "--fault", "storm=1"], capture_output=True, text=True, timeout=20)
        self.assertEqual(ended.returncode, 2)
        self.assertIn("storm=1", ended.stderr)


def main():
    global PROGRAM
    others = [python for python in ("/usr/bin/python3",) if os.path.exists(python) and os.path.realpath(python) != os.path.realpath(sys.executable)]
    here = boto3 is not None
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    if here:
        print("boto3 %s, botocore %s" % (boto3.__version__, botocore.__version__))
        if not unittest.main(module=__name__, exit=False, warnings="ignore").result.wasSuccessful():
            return 1
    if os.environ.get("ESPMINT_FAKE_CLOUD_INNER"):
        return 0 if here else 77
    codes = [subprocess.run([python, "-B", __file__, PROGRAM, *sys.argv[1:]], env=dict(os.environ, ESPMINT_FAKE_CLOUD_INNER="1")).returncode for python in others]
    if any(code not in (0, 77) for code in codes):
        return 1
    if not here and 0 not in codes:
        print("no boto3 on this machine")
        return 77
    return 0


if __name__ == "__main__":
    sys.exit(main())
