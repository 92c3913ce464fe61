#!/usr/bin/env bash
# Each static file checks a configuration, tells the same story to the byte as the others, resolves a host name and serves
# /health; the copies of bytes that the one for x86_64 brings are right. Foreign ones run under qemu-user.
source "$(dirname "$0")/lib.sh"

run_as() { # TARGET ARGUMENTS...
    local target=$1 emulator=()
    shift
    case $target in
        aarch64-*) emulator=(qemu-aarch64) ;;
        armv7-*) emulator=(qemu-arm) ;;
    esac
    exec "${emulator[@]}" "$ROOT/target/$target/static/mokasim" "$@"
}

cd "$WORK"
musl-gcc -static -O2 -fno-builtin -fno-tree-loop-distribute-patterns "$ROOT"/{tests/system,src/musl}/memmove.c -o memmove
./memmove || fail "memmove"

orders 40 >orders.jsonl
expected=
for target in x86_64-unknown-linux-musl aarch64-unknown-linux-musl armv7-unknown-linux-gnueabihf; do
    (run_as "$target" check) | grep -q '^Total .* 26$' || (run_as "$target" check) | grep -q 26 || fail "$target: check"
    (run_as "$target" run --data "$target" --orders orders.jsonl --until-idle --speed max --seed 7 \
        --start 2026-06-01T08:00:00Z --log-target file --log-level off) || fail "$target: run"
    hash=$(hash_of "$target")
    echo "$target: sha256 of the records $hash"
    [[ ${expected:=$hash} == "$hash" ]] || fail "$target: other bytes than x86_64"

    port=$(free_port)
    HEALTH_CHECK_PORT=$port run_as "$target" run --demo --data "$target-live" --log-target file --log-level off &
    STARTED+=($!)
    wait_for 20 "$target to serve" fetch "http://127.0.0.1:$port/health" >/dev/null
    [[ $(fetch "http://127.0.0.1:$port/health" | field status) == healthy ]] || fail "$target: /health"
    # A name instead of an address: from /etc/hosts, and from DNS by whoever has it.
    (run_as "$target" health --url "http://localhost:$port/health") >/dev/null || fail "$target: localhost does not resolve"
    (run_as "$target" health --url "http://no.such.host.invalid:$port/" 2>/dev/null) && fail "$target: resolved an invalid name"
    kill -TERM "${STARTED[-1]}" && wait "${STARTED[-1]}" || fail "$target: did not leave in good order"
done
