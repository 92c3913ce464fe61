"""What the factory costs a small machine, beside Debian's mosquitto, collectd and rsyslogd in the same run.

footprint.py SECONDS BOOTSTRAP NAME=BINARY...: start to ready, memory, CPU, wake-ups and bytes written of each binary, on the spool
and on the Kafka broker at BOOTSTRAP; idle, then with 26 busy machines. All run side by side and are measured over the same SECONDS.
Says of each target whether it is met, and exits 1 when one is missed. Memory has one for the static file only, which is what is
copied to small machines: the release build carries a libc that others may share.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STARTS = 9
# From start to a steady state: for the busy ones, until every machine of every stage is at work.
SETTLE_IDLE_S, SETTLE_BUSY_S = 10, 30
# Lots pass in seconds and come faster than they are made.
BUSY = "[simulation]\nmachine_block_probability = 0\n" + "".join(
    f"[processing_times.{stage}]\nmin = 4\nmax = 8\n" for stage in ["fresa_cnc", "tornio", "assemblaggio", "test"]
)
MOSQUITTO = "mosquitto, idle"
STATIC = "static"
READY, RSS, PSS, CPU, WAKEUPS, WRITTEN = "ready ms", "RSS KiB", "PSS KiB", "CPU %", "wake-ups/s", "KiB written/h"
MEASURED = [READY, RSS, PSS, CPU, WAKEUPS, WRITTEN]


def main(seconds, bootstrap, *binaries):
    binaries = {name: Path(path).resolve() for name, path in (binary.split("=") for binary in binaries)}
    buses = {"spool": [], "Kafka": ["--broker", bootstrap]}
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)

        def factories(state, arguments, own):
            return {
                f"{name}, {bus}, {state}": lambda b=binary, a=bus_arguments: factory(b, folder, [*a, *arguments], own)
                for bus, bus_arguments in buses.items()
                for name, binary in binaries.items()
            }

        rows = measure(references(folder) | factories("idle", [], ""), seconds, SETTLE_IDLE_S)
        rows |= measure(factories("26 machines", ["--demo", "600"], BUSY), seconds, SETTLE_BUSY_S)
    show(rows)
    sys.exit(not judge(rows))


def factory(binary, folder, arguments, own):
    """Of a consumer group of its own. The log at `warn` shows what is written besides log lines."""
    port = free_port()
    place = Path(tempfile.mkdtemp(dir=folder))
    (place / "config.toml").write_text(f'[kafka]\ngroup_id = "{place.name}"\n[health_check]\nport = {port}\n{own}')
    command = [binary, "run", "--log-target", "file", "--log-level", "warn", *arguments]
    began = time.monotonic()
    return subprocess.Popen(command, cwd=place), wait_for_port(port, began)


def references(folder):
    """Each with a configuration of its own, at a free port, as little as it takes to serve."""

    def mosquitto():
        port = free_port()
        config = Path(folder, "mosquitto.conf")
        config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n")
        began = time.monotonic()
        return subprocess.Popen(["mosquitto", "-c", config], stderr=subprocess.DEVNULL), wait_for_port(port, began)

    def collectd():
        place = Path(tempfile.mkdtemp(dir=folder))
        config, data = place / "collectd.conf", place / "data"
        plugins = ["cpu", "memory", "load", "csv"]
        config.write_text(
            f'BaseDir "{place}"\nPIDFile "{place}/pid"\nInterval 10\n'
            + "".join(f"LoadPlugin {plugin}\n" for plugin in plugins)
            + f'<Plugin csv>\nDataDir "{data}"\n</Plugin>\n'
        )
        began = time.monotonic()
        process = subprocess.Popen(["collectd", "-f", "-C", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return process, wait_for(data.exists, began)

    def rsyslogd():
        port, place = free_port(), Path(tempfile.mkdtemp(dir=folder))
        config = place / "rsyslog.conf"
        config.write_text(f'module(load="imtcp")\ninput(type="imtcp" address="127.0.0.1" port="{port}")\n*.* {place}/log\n')
        began = time.monotonic()
        command = ["rsyslogd", "-n", "-f", config, "-i", place / "pid"]
        return subprocess.Popen(command, stderr=subprocess.DEVNULL), wait_for_port(port, began)

    return {MOSQUITTO: mosquitto, "collectd, 3 plugins": collectd, "rsyslogd, idle": rsyslogd}


def measure(programs, seconds, settle):
    """A row for each program: starts by turns, then all at once over one window."""
    starts = {name: [] for name in programs}
    for _ in range(STARTS):
        for name, start in programs.items():
            process, ready_ms = start()
            starts[name].append(ready_ms)
            process.kill()
            process.wait()
    processes = {}
    try:
        for name, start in programs.items():
            processes[name], _ = start()
        time.sleep(settle)
        before, began = {name: usage(process.pid) for name, process in processes.items()}, time.monotonic()
        time.sleep(seconds)
        after, elapsed = {name: usage(process.pid) for name, process in processes.items()}, time.monotonic() - began
        memory = {name: resident(process.pid) for name, process in processes.items()}
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
    rows = {}
    for name in programs:
        cpu_s, wakeups, written = ((b - a) / elapsed for a, b in zip(before[name], after[name]))
        ready_ms = sorted(starts[name])[STARTS // 2]
        rows[name] = dict(zip(MEASURED, [ready_ms, *memory[name], cpu_s * 100, wakeups, written * 3600 / 1024]))
    return rows


def usage(pid):
    """CPU seconds and voluntary switches of all threads (each was woken before it), bytes that went towards the disk."""
    cpu_ns = switches = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        cpu_ns += int((task / "schedstat").read_text().split()[0])
        switches += int((task / "status").read_text().split("\nvoluntary_ctxt_switches:")[1].split()[0])
    io = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return cpu_ns / 1e9, switches, int(io["write_bytes"])


def resident(pid):
    """Resident and proportional KiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:]}
    return sizes["Rss"], sizes["Pss"]


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_for_port(port, began):
    def open_now():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return wait_for(open_now, began)


def wait_for(condition, began):
    """Milliseconds since `began` until the condition holds."""
    while not condition():
        if time.monotonic() > began + 30:
            sys.exit("waited in vain for a program to be ready")
        time.sleep(0.0005)
    return (time.monotonic() - began) * 1000


def show(rows):
    print(f"{'':30}" + "".join(f"{column:>15}" for column in MEASURED))
    for name, row in rows.items():
        print(f"{name:30}" + "".join(f"{row[column]:15.2f}" for column in MEASURED))


def judge(rows):
    """Prints each target and whether it is met; returns whether all are."""
    print(f"\n{'target':45}{'measured':>12}{'at most':>12}")
    missed = 0
    for name, row in rows.items():
        binary, *bus, state = name.split(", ")
        if not bus:
            continue
        limits = {READY: 10}
        if binary == STATIC:
            limits[RSS] = rows[MOSQUITTO][RSS]
        if state == "idle":
            limits |= {CPU: 0.1, WAKEUPS: 12}
        if bus == ["Kafka"]:
            limits[WRITTEN] = 0
        for column, limit in limits.items():
            met = row[column] <= limit
            missed += not met
            print(f"{name + ': ' + column:45}{row[column]:12.2f}{limit:12.2f}  {'met' if met else 'MISSED'}")
    return missed == 0


if __name__ == "__main__":
    main(float(sys.argv[1]), *sys.argv[2:])
