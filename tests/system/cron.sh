#!/usr/bin/env bash
# The real cron keeps one factory alive, on a Kafka broker: it is killed, and is back within a minute; there are never two; and its
# group does not notice.
source "$(dirname "$0")/lib.sh"

broker=$ROOT/tests/kafka/broker
cluster=cron-$$
table=/etc/cron.d/mokasim-test
undo() {
    rm -f "$table"
    pkill -KILL -x mokasim-cron -u daemon
    "$broker" down --name "$cluster" >/dev/null
}
# cron may take a minute: the group has to keep a member's place for longer. In groups of KIP-848 the broker says for how long.
session_ms=120000
version=${KAFKA_VERSION:-4.3.1}
settings=()
[[ $version == 3.* ]] || settings=(--set "group.consumer.max.session.timeout.ms=$session_ms" --set "group.consumer.session.timeout.ms=$session_ms")
bootstrap=$("$broker" up "$version" --name "$cluster" --owner $$ "${settings[@]}" | sed -n 's/^BOOTSTRAP=//p')
mkdir "$WORK/bin" "$WORK/state" "$WORK/other"
cp "$MUSL" "$WORK/bin/mokasim-cron"
chown -R daemon "$WORK/state"
port=$(free_port) other_port=$(free_port)
configuration() { # PORT INSTANCE
    printf '[health_check]\nport = %d\nrequests_per_second = 1000\n[kafka]\nbootstrap_servers = "%s"\n' "$1" "$bootstrap"
    printf 'group_instance_id = "%s"\nsession_timeout_ms = %d\n' "$2" "$session_ms"
}
configuration "$port" edge-1 >"$WORK/config.toml"
configuration "$other_port" edge-2 >"$WORK/other/config.toml"
sed -E "s|^(\* .*) mokasim cd /var/lib/mokasim|\1 daemon cd $WORK/state|; s|exec mokasim|exec $WORK/bin/mokasim-cron|; s|/etc/mokasim/|$WORK/|" \
    "$ROOT/deploy/mokasim.cron" >"$table"
chmod 644 "$table"
cron -f &
STARTED+=($!)

# Processes of the program with a health port: cron's new ones leave before they have one.
serving() { fetch "http://127.0.0.1:${1:-$port}/health" | grep -q '"kafka_connected":true'; }
holders() { fuser "$WORK/state/data/.lock" 2>/dev/null | wc -w; }
watch_for() { # SECONDS: until the factory works, and never are there two
    local deadline=$((SECONDS + $1))
    until serving 2>/dev/null; do
        (($(holders) <= 1)) || fail "$(holders) instances hold the folder"
        ((SECONDS < deadline)) || fail "no factory within $1 s"
        sleep 0.2
    done
}
watch_for 65
wait_for 65 "the process that serves" pgrep -x mokasim-cron
first=$(pgrep -o -x mokasim-cron)

# Another member has a part of the work: it, and the broker, would notice a rebalance.
(cd "$WORK/other" && exec "$MUSL" run --config config.toml --log-target terminal 2>"$WORK/other.log") &
STARTED+=($!)
# Each instance with its epoch (4.x) and partitions, without the member ids.
members() {
    "$broker" tool "$version" consumer.group.ConsumerGroupCommand --bootstrap-server "$bootstrap" --describe --group coffeemek-simulator \
        --members --verbose 2>/dev/null | awk '$3 ~ /^edge-/ { $2 = ""; print }' | sort
}
share() {
    members >"$WORK/before"
    [[ $(awk '$5 > 0' "$WORK/before" | wc -l) == 2 ]] || return 1
    # Both have what they are meant to have: they did not just say so.
    [[ $version == 3.* ]] || awk '$6 != $8 || $7 != $9 { exit 1 }' "$WORK/before"
}
wait_for 60 "two members to share the orders" share
rebalances() { grep -cE 'coffeemek-simulator.*(Bumped group epoch|Computed a new target)|(Preparing to rebalance|Stabilized) group coffeemek-simulator' "$ROOT/target/kafka/run/$cluster/1.log" || true; }
before=$(rebalances)
((before > 0)) || fail "the broker's log does not tell of the first rebalance"

kill -KILL "$first"
killed=$SECONDS
watch_for 65
second=$(pgrep -o -x mokasim-cron) || fail "no process of it, though it serves"
[[ $second != "$first" ]] || fail "it was not killed"
back=$((SECONDS - killed))
# It works in its old place: the orders of its partitions are taken by it, and the other one takes no more than its own.
"$MUSL" send --config "$WORK/config.toml" --mode batch --count 60 >/dev/null
accepted() { fetch "http://127.0.0.1:$1/metrics" | awk '$1 == "mokasim_orders_accepted_total" { print $2 }'; }
all_accepted() { (($(accepted "$port") + $(accepted "$other_port") == 60)); }
wait_for 60 "60 orders to be accepted" all_accepted
(($(accepted "$port") > 0 && $(accepted "$other_port") > 0)) || fail "one instance has taken all orders"
look_after() { members >"$WORK/after"; }
wait_for 60 "the members of the group to be told" look_after
diff "$WORK/before" "$WORK/after" || fail "the group has changed"
[[ $(rebalances) == "$before" ]] || fail "the broker has rebalanced: $(grep coffeemek-simulator "$ROOT/target/kafka/run/$cluster/1.log" | tail -5)"
echo "killed and back after $back s, in its place: $(accepted "$port") and $(accepted "$other_port") orders, no rebalance on $version"

# Over the next start of cron there is one, and it is the same.
next=$((60 - 10#$(date +%S) + 2))
for ((i = 0; i < next * 5; i++)); do
    [[ $(pgrep -o -x mokasim-cron) == "$second" && $(holders) -le 1 ]] || fail "another one took over"
    sleep 0.2
done
log=$(grep -v 'Kafka\|consumer group' "$WORK/state/simulator.log" || true)
[[ -z $log ]] || fail "lines at the level of cron: $log"
status=0
su -s /bin/sh daemon -c "cd $WORK/state && $WORK/bin/mokasim-cron run --config $WORK/config.toml --log-target file --log-level warn" || status=$?
[[ $status == 75 ]] || fail "exit $status where one runs already"
kill -TERM "$second"
