#!/usr/bin/env python3
"""Makes seeds/: what real brokers answer the program, and the logs that they keep. Needs what tests/kafka/broker does.

    cargo build && $(tests/kafka/broker python) fuzz/seed.py

A relay stands where a broker says that it is, and keeps one answer of each kind, version and length class.
"""

import glob
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from confluent_kafka import Producer

ROOT = Path(__file__).resolve().parent.parent
SEEDS = ROOT / "fuzz" / "seeds"
BROKER = ROOT / "tests" / "kafka" / "broker"
MOKASIM = ROOT / "target" / "debug" / "mokasim"
ANSWER_BYTES_MAX = 1500
API_VERSIONS = 18
# The APIs that the program uses, and the first version of each whose answer has tagged fields in its header.
FLEXIBLE = {0: 9, 1: 12, 2: 6, 3: 9, 8: 8, 9: 6, 10: 3, 11: 6, 12: 4, 13: 4, 14: 4, API_VERSIONS: 99, 19: 5, 22: 2, 32: 4, 68: 0}

ORDER = '{"codice_lotto":"L-%d","cliente":"Bar Centrale","quantita":2,"location":"Italia"}'


def frames(stream):
    while head := stream.read(4):
        yield stream.read(int.from_bytes(head, "big"))


class Relay:
    """Passes requests and answers on, and keeps the answers."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.real = None
        self.answers = {}
        self.streams = []

    def start(self, real):
        self.real = real.split(":")
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            broker = socket.create_connection(self.real)
            asked = {}
            threading.Thread(target=self.requests, args=(client, broker, asked), daemon=True).start()
            threading.Thread(target=self.keep, args=(client, broker, asked), daemon=True).start()

    def requests(self, client, broker, asked):
        try:
            for frame in frames(client.makefile("rb")):
                asked[frame[4:8]] = (int.from_bytes(frame[:2], "big"), int.from_bytes(frame[2:4], "big"))
                broker.sendall(len(frame).to_bytes(4, "big") + frame)
            broker.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def keep(self, client, broker, asked):
        stream = bytearray()
        self.streams.append(stream)
        try:
            for frame in frames(broker.makefile("rb")):
                api, version = asked.pop(frame[:4])
                body = frame[5 if version >= FLEXIBLE.get(api, 99) else 4 :]
                if api in FLEXIBLE and len(body) <= ANSWER_BYTES_MAX:
                    self.answers.setdefault((api, version, len(body).bit_length()), body)
                framed = len(frame).to_bytes(4, "big") + frame
                if len(stream) + len(framed) <= ANSWER_BYTES_MAX:
                    stream += framed
                client.sendall(framed)
        except OSError:
            pass


def write(target, name, seed):
    (SEEDS / target / name).write_bytes(seed)


def codecs_and_transactions(address):
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"]:
        producer = Producer({"bootstrap.servers": address, "compression.type": codec, "linger.ms": 50})
        for n in range(8):
            producer.produce(f"seed-{codec}", ORDER % n, f"key-{n % 3}", headers={"seq": str(n)})
        producer.flush()
    producer = Producer({"bootstrap.servers": address, "transactional.id": "seed"})
    producer.init_transactions()
    for end in (producer.commit_transaction, producer.abort_transaction):
        producer.begin_transaction()
        producer.produce("seed-transactions", ORDER % 1)
        producer.flush()
        end()


def play(version):
    name, relay = f"seed-{os.getpid()}", Relay()
    advertised = f"advertised.listeners=PLAINTEXT://{relay.address}"
    up = [BROKER, "up", version, "--name", name, "--owner", str(os.getpid()), "--set", advertised, "--set", "num.partitions=1"]
    env = subprocess.run(up, check=True, capture_output=True, text=True).stdout
    relay.start(dict(line.split("=", 1) for line in env.splitlines())["BOOTSTRAP"])
    with tempfile.TemporaryDirectory() as place:
        mokasim = lambda *args: [MOKASIM, *args, "--broker", relay.address]
        environment = {**os.environ, "HEALTH_CHECK_PORT": "0"}
        for args in [("topics", "create", "--partitions", "1"), ("send", "--count", "3"), ("topics", "list")]:
            subprocess.run(mokasim(*args), check=True, cwd=place, env=environment, capture_output=True)
        factory = subprocess.Popen(mokasim("run", "--speed", "60"), cwd=place, env=environment, stderr=subprocess.DEVNULL)
        try:
            factory.wait(15)
        except subprocess.TimeoutExpired:
            factory.terminate()
            factory.wait()
    codecs_and_transactions(relay.address)
    for (api, answered, length), body in sorted(relay.answers.items()):
        write("answers", f"{version}-{api:02}-v{answered}-{length:02}", bytes([api, answered]) + body)
    for n, stream in enumerate(sorted(relay.streams, key=len)[-3:]):
        write("frames", f"{version}-{n}", bytes([7 * n + 1]) + stream)
    for log in glob.glob(f"{ROOT}/target/kafka/run/{name}/data/1/seed-*/*.log"):
        topic = Path(log).parent.name.removeprefix("seed-").removesuffix("-0")
        write("records", f"{version}-{topic}", Path(log).read_bytes())
    subprocess.run([BROKER, "down", "--name", name], check=True)


if __name__ == "__main__":
    for target in ["answers", "frames", "records"]:
        shutil.rmtree(SEEDS / target, ignore_errors=True)
        (SEEDS / target).mkdir(parents=True)
    for version in ["3.9.2", "4.3.1"]:
        play(version)
    sys.exit(0 if len(list(SEEDS.glob("answers/*"))) > 20 else "too few answers")
