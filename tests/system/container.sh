#!/usr/bin/env bash
# Builds the image from the static file, runs it as a user without rights, and asks for /health from outside and inside.
source "$(dirname "$0")/lib.sh"

image=localhost/mokasim-test-$$
container=
buildah() { command buildah --root "$WORK/images" --runroot "$WORK/run" --storage-driver vfs "$@"; }
undo() {
    if mountpoint -q "$WORK/root/data"; then umount --lazy "$WORK/root/data"; fi
    if mountpoint -q "$WORK/root"; then umount --lazy "$WORK/root"; fi
    [[ -z $container ]] || buildah rm "$container" >/dev/null
    buildah rmi "$image" >/dev/null
}

# The stage that compiles needs a registry; here its result is put in its place.
mkdir -p "$WORK/build/image/bin" "$WORK/build/image/data"
cp "$MUSL" "$WORK/build/image/bin/mokasim"
buildah bud --isolation chroot --format docker --build-context "build=$WORK/build" -t "$image" "$ROOT" >"$WORK/bud.log" 2>&1 \
    || { cat "$WORK/bud.log"; fail "the image does not build"; }
buildah inspect --type image "$image" >"$WORK/image.json"
setting() { field "Docker.config.$1" <"$WORK/image.json"; }
[[ $(setting User) == 65532:65532 ]] || fail "the image runs as $(setting User)"
[[ $(setting ExposedPorts) == *8080/tcp* ]] || fail "exposed: $(setting ExposedPorts)"
[[ $(setting Healthcheck.Test) == *"'/bin/mokasim', 'health'"* ]] || fail "HEALTHCHECK: $(setting Healthcheck)"

container=$(buildah from "$image")
root=$(buildah mount "$container")
[[ -z $(find "$root" -name 'sh' -o -name '*.so*') ]] || fail "there is a shell or a library in the image"
port=$(free_port)
in_container() { buildah run --isolation chroot --env HEALTH_CHECK_PORT="$port" "$container" -- "$@"; }
in_container /bin/mokasim run --demo --log-target terminal >"$WORK/out" 2>&1 &
STARTED+=($!)
wait_for 30 "/health" fetch "http://127.0.0.1:$port/health"
[[ $(fetch "http://127.0.0.1:$port/health" | field status) == healthy ]] || fail "it is not healthy"
in_container /bin/mokasim health | grep -q healthy || fail "the HEALTHCHECK does not succeed"
pid=$(pgrep -n -u 65532 -x mokasim)
STARTED+=("$pid")
[[ $(awk '/^CapEff/ {print $2}' "/proc/$pid/status") == 0000000000000000 ]] || fail "it has capabilities"
kill -TERM "$pid"
wait_for 10 "the container to leave" bash -c "! kill -0 $pid"
status=0
in_container /bin/mokasim health >/dev/null 2>&1 || status=$?
[[ $status == 69 ]] || fail "the HEALTHCHECK of a factory that is gone exits with $status"

# As compose.yaml has it: nothing can be written but /data. buildah writes into the root of what it runs, so this is the image's root
# by itself, mounted read-only, under its user and with no right at all.
mkdir "$WORK/root"
mount --bind "$root" "$WORK/root"
mount -o remount,bind,ro "$WORK/root"
mount -t tmpfs -o mode=700,uid=65532,gid=65532 none "$WORK/root/data"
! touch "$WORK/root/here" 2>/dev/null || fail "the root is not read-only"
port=$(free_port)
env -i PATH="$PATH" HEALTH_CHECK_PORT="$port" CONFIG_PATH=/etc/mokasim/config.toml setpriv --bounding-set=-all,+sys_chroot,+setuid,+setgid --no-new-privs \
    chroot --userspec=65532:65532 --groups= "$WORK/root" /bin/mokasim run --demo --speed 600 --log-target terminal >"$WORK/out" 2>&1 &
pid=$!
STARTED+=("$pid")
served() { fetch "http://127.0.0.1:$port/metrics" | grep -q '^mokasim_records_acknowledged_total [1-9]'; }
wait_for 30 "records on a read-only root" served
[[ $(fetch "http://127.0.0.1:$port/health" | field status) == healthy ]] || fail "it is not healthy on a read-only root"
grep -q '^CapEff:\s*0000000000000000$' "/proc/$pid/status" && grep -q '^Uid:\s*65532\s' "/proc/$pid/status" || fail "it has rights"
kill -TERM "$pid"
wait "$pid" || fail "exit $? on a read-only root: $(tail -3 "$WORK/out")"
[[ -s $WORK/root/data/coffeemek.events.production_status.jsonl ]] || fail "nothing in /data"
echo "read-only root: served, records in /data, left with 0"

# What a registry is needed for is not run here: the stage that compiles, the broker's image. That compose.yaml is one, is checked.
docker-compose -f "$ROOT/compose.yaml" config >"$WORK/compose" || fail "compose.yaml"
for option in 'read_only: true' 'no-new-privileges:true' 'KAFKA_BOOTSTRAP_SERVERS: kafka:19092'; do
    grep -qF "$option" "$WORK/compose" || fail "compose.yaml does not say $option"
done
sed 's/read_only/read_olny/' "$ROOT/compose.yaml" >"$WORK/wrong.yaml"
! docker-compose -f "$WORK/wrong.yaml" config >/dev/null 2>&1 || fail "a key that does not exist passes"
echo "compose.yaml: valid"
