"""A factory at 600x on a broker that goes away now and then, with bad orders and slow HTTP clients.

soak.py BINARY SECONDS: exits 1 and says why, unless memory stays flat, threads constant, descriptors few, ticks in time, and
every lot and every record accounted for by what another client reads back from the broker.

The cores are shared with a broker and its clients. So that a late tick is the program's own doing and not that of whoever has the
core, the program gets a real-time priority where it may be had (root). A meter on each core, of higher priority still, notes when the
machine itself stood still: a tick that is late just then is counted and not held against the program.
"""

import collections
import json
import math
import multiprocessing
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BROKER = ROOT / "tests/kafka/broker"
CLIENT = ROOT / "tests/kafka/client.py"
ORDERS, EVENTS, REJECTED = "coffeemek.orders.new_lots", "coffeemek.events.production_status", "coffeemek.orders.rejected"
STAGES = ["fresa_cnc", "tornio", "assemblaggio", "test"]
TELEMETRY = [f"coffeemek.telemetry.{stage}" for stage in STAGES]
# What happens to a lot, once each and in this order; blocks of its machines may stand in between.
HISTORY = ["lot.received", *(f"{stage}.{what}" for stage in STAGES for what in ("started", "completed")), "lot.completed"]
BAD = ['{"codice_lotto": 7}', "no JSON", '{"codice_lotto":"X","quantita":0}', "[" * 1000]
# By what their slowest stage, the assembly, can make: a lot an hour in Italia and two elsewhere. An hour is 6 s here.
SITES, LOTS_A_TIME, ORDERS_EVERY_S = ["Italia", "Brasile", "Brasile", "Vietnam", "Vietnam"], 2, 5
SLOW_CLIENTS = 8
SPEED = 600
# The broker is away at first within the minute in which memory may grow; every other time telemetry has to be dropped.
AWAY_AT_S, AWAY_EVERY_S, AWAY_S, AWAY_LONG_S = 10, 110, 3, 15
BUFFER_BYTES = 2 << 20
REAL_TIME = ["chrt", "--rr", "10"]
METER_PRIORITY, METER_SLEEP_S = 20, 0.002
TICK_S = 0.1
# A tick may be 50 ms late: this, and what it does itself.
PAUSE_S_MIN = 0.04
# So much may memory grow after the first minute: pages of the allocator, no leak.
GROWTH_KIB_MAX = 512
# So much may it take at all.
RESIDENT_KIB_MAX = 20 * 1024
LATE = 'mokasim_tick_lateness_seconds_bucket{le="0.05"}'
TICKS = "mokasim_tick_lateness_seconds_count"


def main(binary, seconds):
    seed = int(os.environ.get("SEED", random.randrange(1 << 32)))
    print(f"SEED={seed}")
    draw = random.Random(seed)
    name = f"soak-{os.getpid()}"
    up = subprocess.run([BROKER, "up", "--name", name, "--owner", str(os.getpid())], check=True, capture_output=True, text=True)
    bootstrap = dict(line.split("=", 1) for line in up.stdout.splitlines() if "=" in line)["BOOTSTRAP"]
    python = subprocess.run([BROKER, "python"], check=True, capture_output=True, text=True).stdout.strip()
    client = lambda *arguments, **more: subprocess.run([python, CLIENT, *arguments], check=True, text=True, **more)
    with tempfile.TemporaryDirectory() as folder, multiprocessing.Manager() as shared:
        factory = Factory(binary, folder, bootstrap)
        meter = Meter(shared.list())
        orders = Orders(draw, lambda text: client("produce", bootstrap, ORDERS, input=text))
        try:
            orders.send()
            wait_for(30, "the first orders", lambda: factory.figures().get("mokasim_orders_accepted_total"))
            factory.sample()
            outages = soak(factory, seconds, orders, name)
            factory.leave()
            read = Read(python, bootstrap)
        finally:
            factory.process.kill()
            meter.stop()
            subprocess.run([BROKER, "down", "--name", name], check=True, stdout=subprocess.DEVNULL)
    judge(factory, orders, outages, meter.pauses, read)


class Factory:
    def __init__(self, binary, folder, bootstrap):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        config = Path(folder, "config.toml")
        # The sampling here asks oftener than one client may.
        config.write_text(
            f"[health_check]\nport = {self.port}\nrequests_per_second = 1000\n"
            f'[kafka]\ngroup_instance_id = "soak"\nbuffer_bytes = {BUFFER_BYTES}\n'
            # An idle machine sends too: so its last number tells how many records there were.
            "[simulation]\nidle_telemetry = true\n"
            # Tables are made at the start, and the system gives their pages when they are first written to. Small ones, so that this is
            # over soon: what grows after it would be a leak.
            "[capacity]\nlots = 1000\nremembered_codes = 1000\n"
        )
        self.log = open(Path(folder, "log"), "w+")
        arguments = [Path(binary).resolve(), "run", "--config", config, "--speed", str(SPEED)]
        arguments += ["--log-target", "terminal", "--broker", bootstrap]
        self.real_time = subprocess.run([*REAL_TIME, "true"], stderr=subprocess.DEVNULL).returncode == 0
        self.process = subprocess.Popen([*(REAL_TIME if self.real_time else []), *arguments], cwd=folder, stderr=self.log)
        self.began = time.monotonic()
        self.samples = []
        wait_for(30, "the factory to connect", lambda: self.figures().get("mokasim_connected") == 1)

    def figures(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as page:
                lines = page.read().decode().splitlines()
        except OSError:
            return {}
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}

    def descriptors(self):
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def sample(self):
        """Seconds, resident KiB, threads, descriptors and ticks more than 50 ms late."""
        proc = Path(f"/proc/{self.process.pid}")
        status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
        descriptors = self.descriptors()
        figures = self.figures()
        late = figures[TICKS] - figures[LATE]
        at = time.monotonic() - self.began
        self.samples.append((at, int(status["VmRSS"].split()[0]), int(status["Threads"]), descriptors, late))

    def leave(self):
        self.last = self.figures()
        self.process.terminate()
        if code := self.process.wait(10):
            sys.exit(f"exit code {code}")
        self.log.seek(0)
        said = self.log.read()
        end = re.findall(r"records (\d+) sent, (\d+) waiting, (\d+) dropped", said)
        if not end or "stopped: every record is acknowledged" not in said:
            sys.exit(f"it left with: {said[-300:]}")
        self.acknowledged, self.waiting, self.dropped = map(int, end[-1])


class Meter:
    """Notes the pauses of the machine: when one of its processes, which only sleep, woke late, and how long it had slept."""

    def __init__(self, pauses):
        self.pauses = pauses
        cores = os.sched_getaffinity(0)
        self.processes = [multiprocessing.Process(target=self.watch, args=(core, pauses), daemon=True) for core in cores]
        for process in self.processes:
            process.start()

    @staticmethod
    def watch(core, pauses):
        os.sched_setaffinity(0, {core})
        try:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(METER_PRIORITY))
        except PermissionError:
            pass
        before = time.monotonic()
        while True:
            time.sleep(METER_SLEEP_S)
            now = time.monotonic()
            if now - before >= PAUSE_S_MIN:
                pauses.append((now, now - before))
                now = time.monotonic()
            before = now

    def stop(self):
        self.pauses = list(self.pauses)
        for process in self.processes:
            process.kill()


class Orders:
    def __init__(self, draw, produce):
        self.draw, self.produce = draw, produce
        self.sent, self.bad = set(), 0

    def send(self):
        lines = []
        for _ in range(LOTS_A_TIME):
            code = f"SOAK-{len(self.sent)}"
            self.sent.add(code)
            site, priority = self.draw.choice(SITES), self.draw.choice(["alta", "normale", "bassa"])
            order = {"codice_lotto": code, "cliente": "Bar", "quantita": 10, "location": site, "priorita": priority}
            lines.append({"key": code, "value": json.dumps(order)})
        for bad in self.draw.sample(BAD, 2):
            lines.append({"key": "bad", "value": bad})
            self.bad += 1
        self.produce("\n".join(map(json.dumps, lines)))


def soak(factory, seconds, orders, name):
    """Returns how often the broker was away."""
    slow = [socket.create_connection(("127.0.0.1", factory.port)) for _ in range(SLOW_CLIENTS)]
    for client in slow:
        client.sendall(b"GET /hea")
    began, outages, orders_at = time.monotonic(), 0, 0.0
    away_at = AWAY_AT_S
    while (now := time.monotonic() - began) < seconds:
        if now >= orders_at:
            orders_at = now + ORDERS_EVERY_S
            orders.send()
            # Whoever is slow is cut off in the end, and comes again.
            for index, client in enumerate(slow):
                client.close()
                slow[index] = socket.create_connection(("127.0.0.1", factory.port))
                slow[index].sendall(b"GET /metr")
        if now >= away_at:
            away_at = now + AWAY_EVERY_S
            outages += 1
            subprocess.run([BROKER, "kill", name], check=True, stdout=subprocess.DEVNULL)
            time.sleep(AWAY_LONG_S if outages % 2 else AWAY_S)
            factory.sample()
            subprocess.run([BROKER, "restart", name], check=True, stdout=subprocess.DEVNULL)
            wait_for(60, "the broker to be found again", lambda: factory.figures().get("mokasim_connected") == 1)
        factory.sample()
        time.sleep(1)
    for client in slow:
        client.close()
    # Records wait at any moment, as idle machines send too: those of the end are waited for when it leaves.
    zero = ["mokasim_lots_active", "mokasim_lots_queued", "mokasim_consumer_lag_orders"]
    left = lambda: {figure: count for figure in zero if (count := factory.figures().get(figure)) != 0}
    wait_for(120, "the last lot", lambda: not left(), left)
    # The connection of the last question may not be closed on the other side yet.
    most = factory.samples[0][3]
    wait_for(10, f"at most {most} descriptors", lambda: factory.descriptors() <= most, factory.descriptors)
    factory.sample()
    return outages


class Read:
    """What another client finds on the broker, all of it."""

    def __init__(self, python, bootstrap):
        self.records, self.rejected = 0, 0
        self.histories, self.numbers = collections.defaultdict(list), collections.defaultdict(list)
        topics = ",".join([EVENTS, REJECTED, *TELEMETRY])
        with subprocess.Popen([python, CLIENT, "consume", bootstrap, topics], stdout=subprocess.PIPE, text=True) as consumer:
            for line in consumer.stdout:
                self.take(json.loads(line))
        if consumer.returncode:
            sys.exit("the records could not be read back")

    def take(self, record):
        self.records += 1
        if record["topic"] == EVENTS:
            event = json.loads(record["value"])
            self.histories[event["data"]["codice_lotto"]].append(event["event_type"])
        elif record["topic"] == REJECTED:
            self.rejected += 1
        else:
            self.numbers[record["key"]].append(int(record["headers"]["seq"]))


def judge(factory, orders, outages, pauses, read):
    last, samples, problems = factory.last, factory.samples, []
    expect = lambda holds, problem: holds or problems.append(problem)
    histories, numbers = read.histories, read.numbers
    # Events of a lot have different keys, and so lie in different partitions: only each event's number is looked at.
    for code in orders.sent | histories.keys():
        made = sorted(event for event in histories[code] if not event.startswith("machine."))
        expect(made == sorted(HISTORY), f"lot {code}: expected each of {HISTORY} once, found {histories[code]}")
        blocked, unblocked = histories[code].count("machine.blocked"), histories[code].count("machine.unblocked")
        expect(blocked == unblocked, f"lot {code}: blocked {blocked} times, unblocked {unblocked} times")
    expect(histories.keys() == orders.sent, f"{len(orders.sent)} lots were ordered, {len(histories)} have events")
    counted = last["mokasim_orders_rejected_total"]
    expect(read.rejected == counted == orders.bad, f"{orders.bad} bad orders, {counted:.0f} counted, {read.rejected} in the topic")

    doubled = sum(len(seen) - len(set(seen)) for seen in numbers.values())
    backwards = [key for key, seen in numbers.items() if seen != sorted(seen)]
    expect(not doubled and not backwards, f"telemetry: {doubled} records are there twice, out of order of {backwards}")
    missing, dropped = sum(max(seen) - len(set(seen)) for seen in numbers.values()), factory.dropped
    expect(missing == dropped > 0, f"telemetry: {missing} numbers are missing, {dropped} were counted as dropped")
    acknowledged = factory.acknowledged
    expect(acknowledged == read.records, f"{acknowledged} records acknowledged, {factory.waiting} waiting, {read.records} read back")

    ticks, late = last[TICKS], samples[-1][4]
    # By the sample that first saw them: at most as many as the machine made late between the one before and that.
    excused, before = 0, (0, 0, 0, 0, 0)
    for sample in samples:
        within = [length for end, length in pauses if before[0] <= end - factory.began <= sample[0]]
        excused += min(sample[4] - before[4], sum(math.ceil(length / TICK_S) for length in within))
        before = sample
    # Without the priority, a tick may have waited for a core that others had.
    most = excused + (0 if factory.real_time else ticks / 100)
    expect(late <= most, f"{late:.0f} of {ticks:.0f} ticks more than 50 ms late, {excused:.0f} of them while the machine stood still")
    expect(ticks > 9.5 * samples[-1][0], f"{ticks:.0f} ticks of 100 ms in {samples[-1][0]:.0f} s")

    # The first minute, or the first half of a short run, is for warming up.
    warm = [sample for sample in samples if sample[0] <= min(60, samples[-1][0] / 2)]
    after = [sample for sample in samples if sample not in warm]
    resident, resident_after = max(sample[1] for sample in warm), max(sample[1] for sample in after)
    # A short one is over before every page has been written to.
    most = resident + GROWTH_KIB_MAX if samples[-1][0] >= 2 * 60 else RESIDENT_KIB_MAX
    expect(resident_after <= most, f"memory grew from {resident} to {resident_after} KiB, expected at most {most}")
    threads = {sample[2] for sample in samples}
    expect(len(threads) == 1, f"threads: {sorted(threads)}")
    # Connections come and go; what must not happen is that there are more at each time.
    low, high = min(sample[3] for sample in samples), max(sample[3] for sample in samples)
    expect(high <= samples[0][3] + SLOW_CLIENTS + 4, f"descriptors: from {low} to {high}")

    print(
        f"{samples[-1][0]:.0f} s, the broker away {outages} times: {len(orders.sent)} lots with a whole history each, {orders.bad} bad orders; "
        f"{read.records} records read back, {dropped} dropped and counted; {late:.0f} of {ticks:.0f} ticks over 50 ms late, "
        f"{excused:.0f} while the machine stood still ({len(pauses)} pauses; {'real-time' if factory.real_time else 'no'} priority); "
        f"memory {resident} KiB at most in the first minute, {resident_after} after it, {samples[-1][1]} at last; threads {sorted(threads)}; "
        f"descriptors {samples[0][3]} at first, {samples[-1][3]} at last, {low} to {high}"
    )
    if problems:
        sys.exit("\n".join(problems[:20]))


def wait_for(seconds, what, condition, state=lambda: ""):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"waited in vain for {what} {state()}")
        time.sleep(0.2)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
