#!/usr/bin/env bash
# The box is taken away in turns: a disk that is read-only, at the start and later, a disk that fills up, a clock that is stepped,
# little memory, no file descriptor left.
source "$(dirname "$0")/lib.sh"

port=$(free_port)
memory=$((1024 * 1024))
cat >"$WORK/config.toml" <<CONFIG
[health_check]
port = $port
requests_per_second = 1000
[kafka]
buffer_bytes = $memory
[spool]
max_bytes = 67108864
roll_bytes = 262144
[simulation]
idle_telemetry = true
[log]
file = "$WORK/disk/simulator.log"
CONFIG
start() { # ARGUMENTS...: in the folder, into $pid
    "${PROGRAM[@]:-$MUSL}" run --config "$WORK/config.toml" "$@" 2>>"$WORK/log" &
    pid=$!
    STARTED+=("$pid")
    wait_for 20 "the factory to serve" figure ticks_total
}
figure() { fetch "http://127.0.0.1:$port/metrics" | awk -v name="mokasim_$1" '$1 == name { print $2; found = 1 } END { exit !found }'; }
is() { [[ $(figure "$1") == "$2" ]]; }
more_than() { (($(figure "$1" | cut -d. -f1) > $2)); }
stop() { kill -TERM "$pid"; wait "$pid" || fail "exit $?: $(tail -3 "$WORK/log")"; }
# An idle machine sends telemetry too, ten times in so long.
every_machine_sends() {
    local before
    before=$(figure simulated_time_seconds | cut -d. -f1)
    wait_for 30 "simulated time" more_than simulated_time_seconds "$((before + 100))"
}
ticks_go_on() { # WHERE
    local before
    before=$(figure ticks_total)
    wait_for 10 "ticks $1" more_than ticks_total "$before"
}
# health_says STATUS CODE TEXT: what the probe says.
health_says() {
    local code=0 said
    said=$("$MUSL" health --url "http://127.0.0.1:$port/health" 2>&1) || code=$?
    [[ $code == "$2" && $said == *": $1"*"$3"* ]] || fail "health: exit $code, $said"
}
# every_record_is_accounted_for WHERE DATA...: each machine numbers its telemetry from 1; what is not in the files was counted as
# dropped, nothing is there twice, every line is whole, and of events none is missing: a lot that was completed was received.
every_record_is_accounted_for() {
    local where=$1
    shift
    STATUS=$(grep -o 'records [0-9]* sent, 0 waiting, [0-9]* dropped' "$WORK/log" | tail -1) python3 - "$where" "$@" <<'PYTHON'
import collections, glob, json, os, sys

where, folders = sys.argv[1], sys.argv[2:]
numbers, received, completed = collections.defaultdict(list), [], []
records = 0
for folder in folders:
    for path in glob.glob(f"{folder}/*.jsonl"):
        if "orders" in path:
            continue
        for line in open(path, "rb").read().decode().splitlines(keepends=True):
            assert line.endswith("\n"), f"{where}: half a line at the end of {path}"
            record = json.loads(line)
            records += 1
            if "seq" in record["headers"]:
                numbers[record["key"]].append(int(record["headers"]["seq"]))
            elif record["value"]["event_type"] == "lot.received":
                received.append(record["key"])
            elif record["value"]["event_type"] == "lot.completed":
                completed.append(record["key"])
assert completed and len(set(received)) == len(received) and len(set(completed)) == len(completed), f"{where}: lots doubled"
assert set(completed) <= set(received), f"{where}: lots completed that nobody received"
doubled = [key for key, seen in numbers.items() if len(set(seen)) != len(seen)]
assert not doubled, f"{where}: telemetry doubled: {doubled}"
# Every machine has sent after the outage: its last number tells how many there were.
missing = sum(max(seen) - len(seen) for seen in numbers.values())
words = os.environ["STATUS"].split()
sent, dropped = int(words[1]), int(words[5])
assert sent == records, f"{where}: {records} records in the files, {sent} said to be sent"
assert missing == dropped > 0, f"{where}: {missing} numbers are missing, {dropped} were counted as dropped"
print(f"{where}: ticks went on, {sent} records in the files once each and {dropped} counted as dropped, whole lines everywhere")
PYTHON
}

mkdir "$WORK/disk"
mount -t tmpfs -o ro,size=4m none "$WORK/disk"
status=0
"$MUSL" run --config "$WORK/config.toml" --data "$WORK/disk/data" --log-target terminal 2>"$WORK/log" || status=$?
[[ $status == 74 ]] && grep -q "$WORK/disk/data" "$WORK/log" || fail "read-only disk: exit $status, $(cat "$WORK/log")"
umount "$WORK/disk"
echo "read-only disk: exit 74, the folder is named"

# With files open for writing the kernel refuses `remount,ro`; what turns a disk read-only below a running program is the file
# system itself, at an error. It stays so until its repaired copy takes its place.
disk() { # IMAGE: mounted over whatever is there
    mount -o loop,errors=remount-ro "$1" "$WORK/disk"
}
truncate -s 64M "$WORK/image"
mkfs.ext4 -q -O ^has_journal "$WORK/image"
disk "$WORK/image"
start --data "$WORK/disk/data" --demo --speed 600
wait_for 30 "lots" more_than lots_completed_total 3
# Nothing is written between the last sync and the error: what only the cache has would be lost, as at a loss of power.
kill -STOP "$pid"
sync -f "$WORK/disk"
echo 1 >"/sys/fs/ext4/$(basename "$(findmnt -no SOURCE "$WORK/disk")")/trigger_fs_error"
kill -CONT "$pid"
wait_for 20 "the read-only disk to be noticed" is connected 0
health_says degraded 1 "Read-only file system"
grep -q 'Read-only file system.*records wait in memory' "$WORK/log" || fail "not in the log: $(tail -3 "$WORK/log")"
ticks_go_on "on a read-only disk"
wait_for 60 "telemetry to be dropped" more_than records_dropped_total 1000
cp "$WORK/image" "$WORK/repaired"
fsck.ext4 -fp "$WORK/repaired" >"$WORK/fsck" || (($? == 1)) || fail "$(cat "$WORK/fsck")"
disk "$WORK/repaired"
wait_for 30 "the disk to be used again" is connected 1
health_says healthy 0 ""
every_machine_sends
wait_for 30 "the log to go on" grep -q 'records are written again' "$WORK/disk/simulator.log"
grep -Eq '^\(lines missing here: [0-9]+\)$' "$WORK/disk/simulator.log" || fail "lines are missing in the log, and it does not say so"
! grep -vE '^([0-9TZ:-]+ \[(INFO|WARN|ERROR)\] .*|\(lines missing here: [0-9]+\))$' "$WORK/disk/simulator.log" || fail "a broken line in the log"
stop
every_record_is_accounted_for "disk that turned read-only" "$WORK/disk/data"
umount "$WORK/disk" && umount "$WORK/disk"

mount -t tmpfs -o size=32m none "$WORK/disk"
start --data "$WORK/disk/data" --demo --speed 600
head -c 40000000 /dev/zero >"$WORK/disk/filler" 2>/dev/null || true
wait_for 60 "the full disk to be noticed" is connected 0
health_says degraded 1 "No space left on device"
more_than bus_errors_total 0 || fail "full disk: not counted"
ticks_go_on "on a full disk"
wait_for 60 "telemetry to be dropped" more_than records_dropped_total 1000
(($(figure outbox_bytes) <= memory)) || fail "$(figure outbox_bytes) bytes wait, buffer_bytes is $memory"
rm "$WORK/disk/filler"
wait_for 30 "the disk to be used again" is connected 1
wait_for 30 "lots" more_than lots_completed_total 3
every_machine_sends
wait_for 30 "the log to go on" grep -q 'records are written again' "$WORK/disk/simulator.log"
stop
every_record_is_accounted_for "full disk" "$WORK/disk/data"
umount "$WORK/disk"

# What a crash on a full disk leaves: a log that ends within a line, where there is no room for the end of it.
mount -t tmpfs -o size=1m none "$WORK/disk"
head -c 4096 /dev/zero | tr '\0' x >"$WORK/disk/simulator.log"
cat /dev/zero >"$WORK/disk/filler" 2>/dev/null || true
start --data "$WORK/disk/data" --demo --speed 600
wait_for 30 "the full disk to be noticed" is connected 0
health_says degraded 1 "No space left on device"
rm "$WORK/disk/filler"
wait_for 30 "the log to go on" grep -q 'records are written again' "$WORK/disk/simulator.log"
[[ $(sed 1d "$WORK/disk/simulator.log" | head -1) =~ ^\(lines\ missing\ here:\ [0-9]+\)$ ]] || fail "the log goes on with $(sed 1d "$WORK/disk/simulator.log" | head -1)"
stop
umount "$WORK/disk"
echo "started on a full disk: degraded, and well once there is room"

# The clock of the process, by libfaketime, which wants a program that is linked dynamically.
library=$(dpkg -L libfaketime | grep 'libfaketimeMT.so.1$')
step() { echo "$1" >"$WORK/clock.new" && mv "$WORK/clock.new" "$WORK/clock"; }
wall() { fetch "http://127.0.0.1:$port/health" | field timestamp | date -f - +%s; }
offset() { echo $(($(wall) - $(date +%s))); }
stepped_to() { local off=$(($(offset) - $1)); ((off >= -3 && off <= 3)); }
sample() { # uptime, simulated time, ticks, those at most a second late
    fetch "http://127.0.0.1:$port/metrics" | awk '{ f[$1] = $2 } END { print f["mokasim_uptime_seconds"], f["mokasim_simulated_time_seconds"],
        f["mokasim_ticks_total"], f["mokasim_tick_lateness_seconds_bucket{le=\"1\"}"] }' >>"$WORK/clock.samples"
}
step +0
mount -t tmpfs -o size=32m none "$WORK/disk"
PROGRAM=(env "LD_PRELOAD=$library" "FAKETIME_TIMESTAMP_FILE=$WORK/clock" FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1 "$ROOT/target/debug/mokasim")
start --data "$WORK/disk/data" --demo --speed 60
unset PROGRAM
wait_for 10 "telemetry" more_than records_acknowledged_total 20
sample
for seconds in +3600 -3600 +0; do
    step "$seconds"
    wait_for 10 "the clock to be stepped to $seconds s" stepped_to "$((seconds))"
    before=$(figure records_acknowledged_total)
    wait_for 20 "records after a step to $seconds s" more_than records_acknowledged_total "$((before + 20))"
    health_says healthy 0 ""
    sample
done
stop
python3 - "$WORK" <<'PYTHON'
import collections, glob, json, sys

work, speed, tick_s = sys.argv[1], 60, 0.1
samples = [[float(word) for word in line.split()] for line in open(f"{work}/clock.samples")]
for (up, simulated, ticks, _), (up_next, simulated_next, ticks_next, _) in zip(samples, samples[1:]):
    elapsed = up_next - up
    # The figures are a tick old at most, on a machine that others use as well.
    assert abs(simulated_next - simulated - speed * elapsed) < speed * 1, f"simulated time went {simulated_next - simulated} s in {elapsed} s"
    assert abs(ticks_next - ticks - elapsed / tick_s) < 10, f"{ticks_next - ticks} ticks in {elapsed} s"
assert samples[-1][2] == samples[-1][3], "a tick was more than a second late"
stamps, records = collections.defaultdict(list), 0
for path in glob.glob(f"{work}/disk/data/*.jsonl"):
    for line in open(path):
        record = json.loads(line)
        stamps[path, record["key"]].append((record["timestamp"], record["headers"].get("seq")))
        records += 1
first, last = min(seen[0][0] for seen in stamps.values()), max(seen[-1][0] for seen in stamps.values())
for (path, key), seen in stamps.items():
    assert all(before[0] <= after[0] for before, after in zip(seen, seen[1:])), f"{path}: {key} goes back in time"
    assert seen[0][1] is None or [int(seq) for _, seq in seen] == list(range(1, len(seen) + 1)), f"{path}: {key} has a gap"
assert last - first <= speed * 1000 * (samples[-1][0] + 10), f"the records span {(last - first) / 1000} simulated seconds"
print(f"clock stepped an hour on, two back and one on: {samples[-1][2]:.0f} ticks in {samples[-1][0]:.1f} s, {records} records, their time goes on steadily")
PYTHON
umount "$WORK/disk"

sed -i 's|^file = .*|file = ""|' "$WORK/config.toml"
(ulimit -v 65536 && exec "$MUSL" run --config "$WORK/config.toml" --data "$WORK/little" --demo --speed 600 --log-target terminal --log-level warn 2>>"$WORK/log") &
pid=$!
STARTED+=("$pid")
wait_for 20 "a factory in 64 MB" figure ticks_total
wait_for 30 "lots in 64 MB" more_than lots_completed_total 3
peak=$(awk '/^VmPeak/ {print $2}' "/proc/$pid/status")
((peak <= 65536)) && grep -q 'Max address space *67108864 ' "/proc/$pid/limits" || fail "no limit of 64 MB: $peak KiB taken"
echo "64 MB of address space: $peak KiB taken at most, $(awk '/^VmHWM/ {print $2}' "/proc/$pid/status") KiB resident"
stop

# To roll a file takes a descriptor: without one, records would wait.
sed -i 's|^roll_bytes = .*|roll_bytes = 8388608|' "$WORK/config.toml"
start --data "$WORK/descriptors" --demo --speed 60
held() { find "/proc/$pid/fd" -type l | wc -l; }
limit=$(($(held) + 1))
prlimit --pid "$pid" --nofile="$limit"
clients=()
for _ in $(seq 20); do fetch "http://127.0.0.1:$port/health" >/dev/null 2>&1 & clients+=($!); done
wait "${clients[@]}" || true
(($(held) <= limit)) || fail "$(held) descriptors are open, the limit is $limit"
wait_for 10 "an answer with one descriptor left" is connected 1
acknowledged=$(figure records_acknowledged_total)
wait_for 20 "records with one descriptor left" more_than records_acknowledged_total "$acknowledged"
# With none left nobody is answered, and the factory works on.
prlimit --pid "$pid" --nofile=0:
! figure ticks_total 2>/dev/null || fail "an answer without a descriptor"
written=$(cat "$WORK"/descriptors/*.jsonl | wc -l)
more_written() { (($(cat "$WORK"/descriptors/*.jsonl | wc -l) > written)); }
wait_for 20 "records with no descriptor left" more_written
prlimit --pid "$pid" --nofile="$limit":
wait_for 20 "an answer with descriptors again" is connected 1
stop
echo "one descriptor left: served, and records went on; none left: records went on"
