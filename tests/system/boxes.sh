#!/usr/bin/env bash
# The box is taken away in turns: a disk that is read-only, a disk that fills up, little memory, no file descriptor left.
source "$(dirname "$0")/lib.sh"

port=$(free_port)
printf '[health_check]\nport = %d\nrequests_per_second = 1000\n[kafka]\nbuffer_bytes = 2097152\n[spool]\nmax_bytes = 2097152\nroll_bytes = 262144\n' "$port" >"$WORK/config.toml"
start() { # ARGUMENTS...: in the folder, into $pid
    "$MUSL" run --config "$WORK/config.toml" --log-target terminal --log-level warn "$@" 2>>"$WORK/log" &
    pid=$!
    STARTED+=("$pid")
    wait_for 20 "the factory to serve" figure ticks_total
}
figure() { fetch "http://127.0.0.1:$port/metrics" | awk -v name="mokasim_$1" '$1 == name { print $2; found = 1 } END { exit !found }'; }
is() { [[ $(figure "$1") == "$2" ]]; }
more_than() { (($(figure "$1") > $2)); }
stop() { kill -TERM "$pid"; wait "$pid" || fail "exit $?: $(tail -3 "$WORK/log")"; }

mkdir "$WORK/disk"
mount -t tmpfs -o ro,size=4m none "$WORK/disk"
status=0
"$MUSL" run --config "$WORK/config.toml" --data "$WORK/disk/data" --log-target terminal 2>"$WORK/log" || status=$?
[[ $status == 74 ]] && grep -q "$WORK/disk/data" "$WORK/log" || fail "read-only disk: exit $status, $(cat "$WORK/log")"
umount "$WORK/disk"
echo "read-only disk: exit 74, the folder is named"

mount -t tmpfs -o size=4m none "$WORK/disk"
start --data "$WORK/disk/data" --demo --speed 600
head -c 5000000 /dev/zero >"$WORK/disk/filler" 2>/dev/null || true
wait_for 60 "the full disk to be noticed" is connected 0
more_than bus_errors_total 0 || fail "full disk: not counted"
before=$(figure ticks_total)
wait_for 10 "ticks on a full disk" more_than ticks_total "$before"
dropped=$(figure records_dropped_total)
rm "$WORK/disk/filler"
wait_for 30 "the disk to be used again" is connected 1
stop
for file in "$WORK"/disk/data/*.jsonl; do
    python3 -c 'import json, sys; [json.loads(line) for line in open(sys.argv[1])]' "$file" || fail "full disk: a broken line in $file"
done
echo "full disk: ticks went on, $dropped records dropped, whole lines in every file"
umount "$WORK/disk"

(ulimit -v 65536 && exec "$MUSL" run --config "$WORK/config.toml" --data "$WORK/little" --demo --speed 600 --log-target terminal --log-level warn 2>>"$WORK/log") &
pid=$!
STARTED+=("$pid")
wait_for 20 "a factory in 64 MB" figure ticks_total
wait_for 30 "lots in 64 MB" more_than lots_completed_total 3
echo "64 MB of address space: $(awk '/^VmPeak/ {print $2}' "/proc/$pid/status") KiB taken at most, $(awk '/^VmHWM/ {print $2}' "/proc/$pid/status") KiB resident"
stop

start --data "$WORK/descriptors" --demo --speed 60
prlimit --pid "$pid" --nofile=$(($(find "/proc/$pid/fd" -type l | wc -l) + 1))
for _ in $(seq 20); do fetch "http://127.0.0.1:$port/health" >/dev/null 2>&1 & done
wait $(jobs -p | grep -vx "$pid" | grep -vxF "$(printf '%s\n' "${STARTED[@]}")") || true
wait_for 10 "an answer with one descriptor left" is connected 1
acknowledged=$(figure records_acknowledged_total)
wait_for 20 "records with one descriptor left" more_than records_acknowledged_total "$acknowledged"
stop
echo "one descriptor left: served, and records went on"
