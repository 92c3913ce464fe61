#!/usr/bin/env bash
# The real cron keeps one factory alive: it is killed, and is back within a minute; there are never two.
source "$(dirname "$0")/lib.sh"

table=/etc/cron.d/mokasim-test
undo() { rm -f "$table"; }
mkdir "$WORK/bin" "$WORK/state"
cp "$MUSL" "$WORK/bin/mokasim-cron"
chown -R daemon "$WORK/state"
port=$(free_port)
printf '[health_check]\nport = %d\n' "$port" >"$WORK/config.toml"
sed -E "s|^(\* .*) mokasim cd /var/lib/mokasim|\1 daemon cd $WORK/state|; s|exec mokasim|exec $WORK/bin/mokasim-cron|; s|/etc/mokasim/|$WORK/|" \
    "$ROOT/deploy/mokasim.cron" >"$table"
chmod 644 "$table"
cron -f &
STARTED+=($!)

alive() { fetch "http://127.0.0.1:$port/health" >/dev/null; }
watch_for() { # SECONDS
    local deadline=$((SECONDS + $1))
    until alive 2>/dev/null; do
        ((SECONDS < deadline)) || fail "no factory within $1 s"
        sleep 0.2
    done
}
wait_for 5 "cron to have read the table" test -e "$table"
watch_for 62
first=$(pgrep -o -x mokasim-cron)
holders() { fuser "$WORK/state/data/.lock" 2>/dev/null | wc -w; }
[[ $(holders) == 1 ]] || fail "$(holders) instances hold the folder"

kill -KILL "$first"
watch_for 62
second=$(pgrep -o -x mokasim-cron)
[[ $second != "$first" ]] || fail "it was not killed"

# Over the next start of cron there is one, and it is the same.
next=$((60 - 10#$(date +%S) + 2))
for ((i = 0; i < next * 5; i++)); do
    [[ $(pgrep -o -x mokasim-cron) == "$second" ]] || fail "another one took over"
    sleep 0.2
done
log=$(cat "$WORK/state/simulator.log")
[[ -z $log ]] || fail "lines at the level of cron: $log"
status=0
su -s /bin/sh daemon -c "cd $WORK/state && $WORK/bin/mokasim-cron run --config $WORK/config.toml --log-target file --log-level warn" || status=$?
[[ $status == 75 ]] || fail "exit $status where one runs already"
pid=$(pgrep -o -x mokasim-cron)
kill -TERM "$pid"
