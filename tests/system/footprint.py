"""What the factory costs a small machine, beside Debian's mosquitto, collectd and rsyslogd in the same run.

footprint.py BINARY SECONDS [BOOTSTRAP]: start to ready, memory, CPU, wake-ups and bytes written, idle and with 26 busy
machines; on the spool, and on the Kafka broker at BOOTSTRAP. Exits 1 when a target of the table is missed.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
# Lots pass in seconds and come faster than they are made: every machine of every stage is at work.
BUSY = "[simulation]\nmachine_block_probability = 0\n" + "".join(
    f"[processing_times.{stage}]\nmin = 4\nmax = 8\n" for stage in ["fresa_cnc", "tornio", "assemblaggio", "test"]
)


def main(binary, seconds, bootstrap=None):
    binary = Path(binary).resolve()
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        rows = {}
        for name, start in references(folder).items():
            rows[name] = measure(start, seconds)
        buses = {"spool": []} | ({"Kafka": ["--broker", bootstrap]} if bootstrap else {})
        for bus, arguments in buses.items():
            rows[f"mokasim, {bus}, idle"] = measure(lambda: factory(binary, folder, arguments, ""), seconds)
            busy = [*arguments, "--demo", "600"]
            rows[f"mokasim, {bus}, 26 machines"] = measure(lambda: factory(binary, folder, busy, BUSY), seconds, settle=30)
    show(rows)
    judge(rows)


def factory(binary, folder, arguments, own):
    port = free_port()
    place = tempfile.mkdtemp(dir=folder)
    Path(place, "config.toml").write_text(f"[health_check]\nport = {port}\n{own}")
    command = [binary, "run", "--log-target", "file", "--log-level", "warn", *arguments]
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=place)
    return process, wait_for_port(port, began)


def references(folder):
    """Each with a configuration of its own, at a free port, as little as it takes to serve."""

    def mosquitto():
        port = free_port()
        config = Path(folder, "mosquitto.conf")
        config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n")
        began = time.monotonic()
        return subprocess.Popen(["mosquitto", "-c", config], stderr=subprocess.DEVNULL), wait_for_port(port, began)

    def collectd():
        config, data = Path(folder, "collectd.conf"), Path(folder, "collectd")
        plugins = ["cpu", "memory", "load", "csv"]
        config.write_text(
            f'BaseDir "{folder}"\nPIDFile "{folder}/collectd.pid"\nInterval 10\n'
            + "".join(f"LoadPlugin {plugin}\n" for plugin in plugins)
            + f'<Plugin csv>\nDataDir "{data}"\n</Plugin>\n'
        )
        shutil.rmtree(data, ignore_errors=True)
        began = time.monotonic()
        process = subprocess.Popen(["collectd", "-f", "-C", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return process, wait_for(data.exists, began)

    def rsyslogd():
        port, config = free_port(), Path(folder, "rsyslog.conf")
        config.write_text(
            f'module(load="imtcp")\ninput(type="imtcp" address="127.0.0.1" port="{port}")\n*.* {folder}/syslog\n'
        )
        began = time.monotonic()
        command = ["rsyslogd", "-n", "-f", config, "-i", Path(folder, "rsyslogd.pid")]
        return subprocess.Popen(command, stderr=subprocess.DEVNULL), wait_for_port(port, began)

    return {"mosquitto, idle": mosquitto, "collectd, 3 plugins": collectd, "rsyslogd, idle": rsyslogd}


def measure(start, seconds, settle=3):
    starts = []
    for _ in range(4):
        process, ready_ms = start()
        starts.append(ready_ms)
        process.kill()
        process.wait()
    process, ready_ms = start()
    starts.append(ready_ms)
    time.sleep(settle)
    try:
        before, began = usage(process.pid), time.monotonic()
        time.sleep(seconds)
        after, elapsed = usage(process.pid), time.monotonic() - began
        memory = {
            line.split(":")[0]: int(line.split()[1])
            for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
            if line.startswith(("Rss", "Pss:"))
        }
    finally:
        process.kill()
        process.wait()
    cpu, wakeups, written = ((b - a) / elapsed for a, b in zip(before, after))
    return {
        "ready ms": sorted(starts)[len(starts) // 2],
        "RSS KiB": memory["Rss"],
        "PSS KiB": memory["Pss"],
        "CPU %": cpu / TICKS_A_SECOND * 100,
        "wake-ups/s": wakeups,
        "KiB written/h": written * 3600 / 1024,
    }


def usage(pid):
    """CPU ticks, voluntary switches of all threads (each was woken before it), bytes that went towards the disk."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    switches = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        switches += int((task / "status").read_text().split("\nvoluntary_ctxt_switches:")[1].split()[0])
    io = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(fields[11]) + int(fields[12]), switches, int(io["write_bytes"])


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
    columns = list(next(iter(rows.values())))
    print(f"{'':30}" + "".join(f"{column:>15}" for column in columns))
    for name, row in rows.items():
        print(f"{name:30}" + "".join(f"{row[column]:15.2f}" for column in columns))


def judge(rows):
    limits = {"ready ms": 10, "CPU %": 0.1, "wake-ups/s": 12}
    missed = [
        f"{name}: {column} {row[column]:.2f}, expected at most {limit}"
        for name, row in rows.items()
        if name.startswith("mokasim") and name.endswith("idle")
        for column, limit in limits.items()
        if row[column] > limit
    ]
    mosquitto = rows["mosquitto, idle"]["RSS KiB"]
    for name, row in rows.items():
        if name.startswith("mokasim") and row["RSS KiB"] > mosquitto:
            missed.append(f"{name}: {row['RSS KiB']} KiB resident, expected at most mosquitto's {mosquitto}")
    if missed:
        sys.exit("\n".join(missed))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), *sys.argv[3:])
