"""A Mosquitto for tests: Debian's, on a loopback port, ended with its test.

  with Broker(folder, port, conf=folder / "mosquitto.conf") as broker:
      broker.publish("24d7eb000001", "dev/24d7eb000001/a", "hello", cert=…, key=…)

`folder`: where it starts, so that relative paths of its configuration mean what lies there. `conf`: a configuration that
says how it listens; it is taken as it is. `Broker.listener` writes one for certificates of any CA.
"""
import pathlib
import shutil
import signal
import socket
import subprocess
import threading
import time

TOOLS = ("mosquitto", "mosquitto_pub", "mosquitto_sub", "mosquitto_rr")
SKIPPED = 77  # what ctest takes for "not here"


def is_there():
    """Whether this machine has a Mosquitto with its clients."""
    return all(find(tool) for tool in TOOLS)


def find(tool):
    return shutil.which(tool) or shutil.which(tool, path="/usr/sbin:/usr/bin:/sbin:/bin")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Broker:
    def __init__(self, folder, port, conf, ca):
        """`ca`: what clients trust the broker by (PEM)."""
        self.folder, self.port, self.conf, self.ca = pathlib.Path(folder), port, pathlib.Path(conf), pathlib.Path(ca)
        self.process, self.lines, self.reader = None, [], None

    @staticmethod
    def listener(folder, port, cafile, certfile, keyfile, acl=None, crlfile=None, extra=()):
        """Writes a configuration: clients need a certificate of `cafile` and are its CN."""
        lines = ["listener %d 127.0.0.1" % port, "cafile %s" % cafile, "certfile %s" % certfile, "keyfile %s" % keyfile,
                 "require_certificate true", "use_identity_as_username true", "allow_anonymous false"]
        lines += ["acl_file %s" % acl] if acl else []
        lines += ["crlfile %s" % crlfile] if crlfile else []
        conf = pathlib.Path(folder) / "listener.conf"
        conf.write_text("\n".join([*lines, *extra]) + "\n")
        return conf

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        # As root it would become the user mosquitto, who may not read a test's folder.
        ours = self.folder / "broker-of-the-test.conf"
        name = subprocess.run(["id", "-un"], capture_output=True, text=True).stdout.strip()
        ours.write_text("user %s\n%s" % (name, self.conf.read_text()))
        self.process = subprocess.Popen([find("mosquitto"), "-v", "-c", str(ours)], cwd=self.folder, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self.reader.start()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError("mosquitto ended by itself:\n" + self.log())
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        self.stop()
        raise RuntimeError("mosquitto does not listen:\n" + self.log())

    def _read(self, stream):
        for line in stream:
            self.lines.append(line)

    def stop(self):
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.reader.join(5)
            self.process.stdout.close()
            self.process = None

    def reload(self):
        """SIGHUP: ACL, certificates and revocation list are read again, connections stay."""
        before = len(self.lines)
        self.process.send_signal(signal.SIGHUP)
        self.wait_for("Reloading config", before)

    def restart(self):
        self.stop()
        self.start()

    def log(self):
        return "".join(self.lines[-60:])

    def wait_for(self, text, since=0, seconds=20):
        """The broker's log from line `since` on, once it says `text`: what a client was told may be read here a moment later."""
        deadline = time.monotonic() + seconds
        while not any(text in line for line in self.lines[since:]):
            if time.monotonic() > deadline:
                raise AssertionError("mosquitto never said %r:\n%s" % (text, self.log()))
            time.sleep(0.01)
        return list(self.lines[since:])

    def words(self, tool, cert, key, client_id):
        words = [find(tool), "-h", "localhost", "-p", str(self.port), "--cafile", str(self.ca), "-V", "mqttv5"]
        if cert:
            words += ["--cert", str(cert), "--key", str(key)]
        return words + (["-i", client_id] if client_id else [])

    def run(self, words, timeout=15):
        return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)

    def echo(self, topic, message, cert=None, key=None, client_id=None, seconds=5):
        """One connection publishes to a topic that it has subscribed to; whether the message came back."""
        words = self.words("mosquitto_rr", cert, key, client_id) + ["-t", topic, "-e", topic, "-m", message, "-q", "1", "-W", str(seconds)]
        return message in self.run(words, seconds + 10).stdout.split("\n")

    def publish(self, topic, message, cert=None, key=None, client_id=None):
        """Exit code of mosquitto_pub; 0: the broker took it, which does not mean that it delivered it."""
        return self.run(self.words("mosquitto_pub", cert, key, client_id) + ["-t", topic, "-m", message, "-q", "1"]).returncode

    def subscribe(self, topics, cert=None, key=None, client_id=None):
        return Subscription(self, topics, cert, key, client_id)


class Subscription:
    """A client that listens: `with broker.subscribe([…], …): …`. What it is sent stands in the broker's log.

    Inside the `with` the broker has answered the subscription, whether it granted it or not. The client's own words do
    not tell: into a pipe `-d` is written only with the first message.
    """

    def __init__(self, broker, topics, cert, key, client_id):
        words = broker.words("mosquitto_sub", cert, key, client_id) + ["-q", "1"]
        for topic in topics:
            words += ["-t", topic]
        self.broker, self.before = broker, len(broker.lines)
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self):
        try:
            self.broker.wait_for("Sending SUBACK", self.before)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
