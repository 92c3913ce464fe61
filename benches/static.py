#!/usr/bin/env python3
"""What the static file costs beside the release build, which has glibc's allocator and copies: `make bench-static`.

static.py [ROUNDS]: both play the same orders at full speed, in turns, into the spool and, where Java is there, onto a Kafka broker
of their own. CPU seconds of the whole process, user and system, as the kernel counts them. What else the machine does only adds to
them, so the ratio is that of each one's least; the median of the rounds' ratios stands beside it. Exits 1 when it is above RATIO_MAX.
"""

import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RELEASE = ROOT / "target/release/mokasim"
STATIC = ROOT / f"target/{platform.machine()}-unknown-linux-musl/static/mokasim"
RATIO_MAX = 1.10
# A lot is about 930 records of 330 bytes.
LOTS = 1500


def main(rounds):
    missed = False
    with tempfile.TemporaryDirectory() as folder, broker() as bootstrap:
        buses = {"spool": []} | ({"Kafka": ["--broker", bootstrap]} if bootstrap else {})
        for bus, arguments in buses.items():
            orders = Path(folder, f"{bus}-orders")
            send = [RELEASE, "send", "--count", str(LOTS), "--seed", "1", "--data", orders]
            subprocess.run(send, check=True, stdout=subprocess.DEVNULL)
            arguments = [*arguments, "--orders", orders / "coffeemek.orders.new_lots.jsonl"]
            seconds = {RELEASE: [], STATIC: []}
            for number in range(rounds):
                for binary in sorted(seconds, reverse=number % 2 == 1):
                    seconds[binary].append(cpu_s(binary, folder, arguments))
            ratios = [ours / theirs for ours, theirs in zip(seconds[STATIC], seconds[RELEASE])]
            release, static = (min(seconds[binary]) for binary in (RELEASE, STATIC))
            ratio = static / release
            missed |= ratio > RATIO_MAX
            print(
                f"{bus:6} CPU: release {release:.3f} s, static {static:.3f} s; ratio {ratio:.3f} "
                f"(of {rounds} rounds' ratios the median {statistics.median(ratios):.3f}, {min(ratios):.3f} to {max(ratios):.3f}), "
                f"expected at most {RATIO_MAX:.2f}: {'met' if ratio <= RATIO_MAX else 'missed'}"
            )
    sys.exit(missed)


def cpu_s(binary, folder, arguments):
    """CPU seconds of one run from its start to its end."""
    place = tempfile.mkdtemp(dir=folder)
    command = [binary, "run", *arguments, "--speed", "max", "--until-idle", "--seed", "7", "--start", "2026-06-01T08:00:00Z"]
    command += ["--data", "run", "--log-target", "file", "--log-level", "off"]
    process = subprocess.Popen(command, cwd=place, env=os.environ | {"HEALTH_CHECK_PORT": "0"})
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{binary}: exit code {process.returncode}")
    shutil.rmtree(place)
    return usage.ru_utime + usage.ru_stime


class broker:
    """The address of a broker that lives as long as the block; None where there can be none."""

    script, name = ROOT / "tests/kafka/broker", f"bench-static-{os.getpid()}"

    def __enter__(self):
        up = [self.script, "up", os.environ.get("KAFKA_VERSION", "4.3.1"), "--name", self.name, "--owner", str(os.getpid())]
        answer = subprocess.run(up, stdout=subprocess.PIPE, text=True)
        if answer.returncode:
            return print("Kafka: not measured")
        return next(line.removeprefix("BOOTSTRAP=") for line in answer.stdout.splitlines() if line.startswith("BOOTSTRAP="))

    def __exit__(self, *_):
        subprocess.run([self.script, "down", "--name", self.name], stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
