#!/usr/bin/env bash
# Builds the image from the static file, runs it as a user without rights, and asks for /health from outside and inside.
source "$(dirname "$0")/lib.sh"

image=localhost/mokasim-test-$$
container=
buildah() { command buildah --root "$WORK/images" --runroot "$WORK/run" --storage-driver vfs "$@"; }
undo() { [[ -z $container ]] || buildah rm "$container" >/dev/null; buildah rmi "$image" >/dev/null; }

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
