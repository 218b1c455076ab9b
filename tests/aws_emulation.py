#!/usr/bin/env python3
"""The whole way against an AWS IoT that is not ours: an emulation such as moto, at ENDPOINT.

  tests/aws_emulation.py ESPMINT ENDPOINT [--boards 100]
  tests/aws_emulation.py ESPMINT --own [--boards 8]        `espmint sim cloud`, so that this file is tried in every build

In front of it stands a proxy that signs each request anew with AWS's own signer (botocore) and refuses what differs, and that,
for the line, spoils every second call: cut before or after its effect, throttled, late, doubled, half answered. Then: a demo,
twice on one account; a line; `cloud sync`; `doctor --fix`, whose second visit must have nothing to say; and boto3 lists what the
ledger has. The account should be empty before. AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION may name its keys.

An emulation must make certificates for the key of the request. moto 5.2 does not (its answer is refused: another key).
"""
import argparse
import collections
import hmac
import http.client
import http.server
import json
import os
import pathlib
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

try:
    import boto3
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
except ImportError:
    boto3 = SigV4Auth = None

SKIPPED = 77  # what ctest takes for "not here"
FAULTS = ("cut-before", "cut-after", "throttle", "error-after", "late", "twice", "half")
AUTHORIZATION = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, ?"
                           r"SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$")
RECIPE = """[product]
name = "lamp"
[firmware]
path = "build"
[identity]
issuer = "aws"
[cloud.aws]
thing_type = "lamps"
attributes = { owner = "line-3" }
groups = ["berlin"]
"""


class Signer(SigV4Auth or object):
    """botocore's, of the headers that a request says it signed, in the form that they came in."""

    def __init__(self, keys, service, region, signed):
        super().__init__(keys, service, region)
        self.signed = signed

    def headers_to_sign(self, request):
        chosen = http.client.HTTPMessage()
        for name in self.signed:
            chosen[name] = request.headers[name]
        return chosen


class Proxy(http.server.ThreadingHTTPServer):
    daemon_threads, request_queue_size = True, 128

    def __init__(self, endpoint, keys, region, seed):
        super().__init__(("127.0.0.1", 0), Handler)
        self.there, self.keys, self.region = urllib.parse.urlsplit(endpoint).netloc, keys, region
        self.spoils, self.calls, self.refused, self.faults = False, 0, [], collections.Counter()
        self.chance, self.lock = random.Random(seed), threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return "http://127.0.0.1:%d" % self.server_address[1]

    def handle_error(self, *_):
        pass  # who hung up, hung up

    def next_fault(self):
        with self.lock:
            self.calls += 1
            fault = self.chance.choice(FAULTS) if self.spoils and self.calls % 2 == 0 else None
            self.faults[fault or "none"] += 1
            return fault


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def why_refused(self, body):
        """None: the signature is the one that AWS's client would make."""
        said = AUTHORIZATION.match(self.headers.get("Authorization", ""))
        if not said:
            return "no signature"
        key, _, region, service, signed, signature = said.groups()
        if (key, region, service) != (self.server.keys.access_key, self.server.region, "iot"):
            return "scope %s %s %s" % (key, region, service)
        request = AWSRequest(self.command, "http://" + self.headers["Host"] + self.path, data=body, headers=dict(self.headers))
        request.context["timestamp"] = self.headers["X-Amz-Date"]
        signer = Signer(self.server.keys, service, region, signed.split(";"))
        wanted = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
        return None if hmac.compare_digest(wanted, signature) else "signature"

    def forward(self, body):
        there = http.client.HTTPConnection(self.server.there, timeout=60)
        there.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            there.putheader(name, value)
        there.endheaders(body)
        reply = there.getresponse()
        return reply.status, reply.getheaders(), reply.read()

    def answer(self, status, headers, body, cut_at=None):
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in ("transfer-encoding", "connection", "content-length", "server", "date"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:cut_at])
        if cut_at is not None:
            self.cut()

    def refuse(self, status, kind, words):
        self.answer(status, [("x-amzn-ErrorType", kind)], json.dumps({"message": words}).encode())

    def cut(self):
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def handle_call(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        why = self.why_refused(body)
        if why:
            self.server.refused.append("%s: %s %s" % (why, self.command, self.path))
            return self.refuse(403, "InvalidSignatureException", "The request signature we calculated does not match")
        fault = self.server.next_fault()
        if fault == "cut-before":
            return self.cut()
        if fault == "throttle":
            return self.refuse(429, "ThrottlingException", "Rate exceeded")
        reply = self.forward(body)
        if fault == "twice":
            reply = self.forward(body)
        if fault == "cut-after":
            return self.cut()
        if fault == "error-after":
            return self.refuse(503, "ServiceUnavailableException", "Service is unavailable")
        if fault == "late":
            time.sleep(1)
        self.answer(*reply, cut_at=len(reply[2]) // 2 if fault == "half" else None)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_call


class Rehearsal:
    def __init__(self, program, endpoint, boards, folder):
        self.program, self.boards, self.folder = program, boards, folder
        self.region = os.environ.setdefault("AWS_REGION", "eu-central-1")
        keys = Credentials(os.environ.setdefault("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
                           os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "a/secret+key="))
        self.endpoint, self.keys, self.proxy = endpoint, keys, Proxy(endpoint, keys, self.region, seed=7)

    def espmint(self, *words, code=0, timeout=600):
        env = dict(os.environ, AWS_ENDPOINT_URL_IOT=self.proxy.url, AWS_EC2_METADATA_DISABLED="true", HOME=str(self.folder), NO_COLOR="1")
        words = [self.program, "--state", str(self.folder / "state"), *map(str, words)]
        seen = subprocess.run(words, env=env, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
        if code is not None and seen.returncode != code:
            raise SystemExit("%s ended with %d, not %d:\n%s%s" % (" ".join(words), seen.returncode, code, seen.stdout[-4000:], seen.stderr[-4000:]))
        return [json.loads(line) for line in seen.stdout.splitlines() if line.startswith("{")]

    def demos(self):
        for _ in range(2):
            end = self.espmint("demo", "--once", "--issuer", "aws", "--boards", 2, "--json")[-1]
            expect((end["verified"], end["active_at_cloud"]), (2, 2), "boards VERIFIED and ACTIVE in the demo")

    def line(self):
        """Boards with MACs that the demo's do not have: its things are another product's."""
        (self.folder / "recipe.toml").write_text(RECIPE)
        self.espmint("sim", "firmware", self.folder / "build", "--app-size", "64K")
        self.espmint("cloud", "setup", self.folder)
        playing = subprocess.Popen([self.program, "sim", "board", "--count", str(self.boards), "--seed", "77", "--preset", "instant", "--json",
                                    "--dir", str(self.folder / "boards")], stdout=subprocess.PIPE, text=True)
        try:
            ports = [json.loads(playing.stdout.readline())["rfc2217"] for _ in range(self.boards)]
            words = [word for port in ports for word in ("--port", port)]
            self.proxy.spoils = True
            events = self.espmint("run", self.folder, "--json", "--count", self.boards, *words)
        finally:
            self.proxy.spoils = False
            playing.terminate()
            playing.wait()
            playing.stdout.close()
        verified = {event["mac"] for event in events if event.get("event") == "done" and event["verdict"] == "VERIFIED"}
        expect(len(verified), self.boards, "boards VERIFIED with a fault on every second call")

    def visits(self):
        self.espmint("cloud", "sync", self.folder, "--json")
        mended = self.espmint("doctor", "--cloud", "--product", "lamp", "--fix", "--json", code=None)
        again = self.espmint("doctor", "--cloud", "--product", "lamp", "--json")
        expect([event["level"] for event in again], ["ok"], "what the doctor's second visit says: %s" % again)
        return sum(1 for event in mended if event["level"] != "ok")

    def listed(self):
        """What boto3, asking past the proxy, lists of the product, beside the ledger."""
        client = boto3.client("iot", region_name=self.region, endpoint_url=self.endpoint, aws_access_key_id=self.keys.access_key,
                              aws_secret_access_key=self.keys.secret_key)

        def every(operation, part, size, token, **words):
            page = {"nextMarker": None, "nextToken": None}
            while page is not None:
                page = getattr(client, operation)(**words)
                yield from page[part]
                words[token[0]] = page.get(token[1])
                page = page if page.get(token[1]) else None

        devices = [one for one in self.espmint("--json", "device", "list") if one.get("state") == "VERIFIED"]
        things = list(every("list_things", "things", 250, ("nextToken", "nextToken"), attributeName="espmint", attributeValue="lamp"))
        expect({one["thingName"] for one in things}, {one["id"] for one in devices}, "things of the product")
        attached = set()
        for thing in things:
            attached.update(client.list_thing_principals(thingName=thing["thingName"])["principals"])
        active = {one["certificateArn"] for one in every("list_certificates", "certificates", 250, ("marker", "nextMarker"))
                  if one["status"] == "ACTIVE"}
        expect(len(attached), self.boards, "certificates on them")
        expect(attached - active, set(), "attached and not ACTIVE")
        expect(len(active), self.boards + 2, "ACTIVE certificates, the demo's two among them")


def expect(seen, wanted, what):
    if seen != wanted:
        raise SystemExit("%s: %r, expected %r" % (what, seen, wanted))


def rehearse(program, endpoint, boards):
    with tempfile.TemporaryDirectory(prefix="aws-emulation-") as folder:
        rehearsal = Rehearsal(program, endpoint, boards, pathlib.Path(folder))
        rehearsal.demos()
        rehearsal.line()
        mended = rehearsal.visits()
        rehearsal.listed()
        proxy = rehearsal.proxy
        expect(proxy.refused, [], "signatures that AWS's own signer makes otherwise")
        print("%d calls, every signature as AWS's own; %s; %d boards VERIFIED; the doctor mended %d, then had nothing to say"
              % (proxy.calls, ", ".join("%s %d" % pair for pair in sorted(proxy.faults.items())), boards, mended))


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("program")
    words.add_argument("endpoint", nargs="?")
    words.add_argument("--own", action="store_true")
    words.add_argument("--boards", type=int)
    said = words.parse_args()
    if boto3 is None:
        print("no boto3 here")
        return SKIPPED
    program = os.path.abspath(said.program)
    if not said.own:
        rehearse(program, said.endpoint or words.error("which ENDPOINT?"), said.boards or 100)
        return 0
    cloud = subprocess.Popen([program, "sim", "cloud", "--json", "--detach", "50"], stdout=subprocess.PIPE, text=True)
    try:
        told = json.loads(cloud.stdout.readline())
        os.environ.update(AWS_ACCESS_KEY_ID=told["access_key_id"], AWS_SECRET_ACCESS_KEY=told["secret_access_key"], AWS_REGION=told["region"])
        rehearse(program, told["endpoint"], said.boards or 8)
    finally:
        cloud.terminate()
        cloud.wait()
        cloud.stdout.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
