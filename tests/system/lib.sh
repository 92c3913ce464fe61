# What the system tests share. Sourced by each of them, which is run by `tests/system/run`.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
MUSL=${MOKASIM:-$ROOT/target/x86_64-unknown-linux-musl/static/mokasim}
WORK=$(mktemp -d "${TMPDIR:-/tmp}/mokasim-system.XXXXXX")
chmod 755 "$WORK"
STARTED=()

# Ends what the test started, and takes its folder away.
clean_up() {
    local status=$? pid
    for pid in ${STARTED[@]+"${STARTED[@]}"}; do kill -KILL "$pid" 2>/dev/null || true; done
    if declare -F undo >/dev/null; then undo || true; fi
    while mountpoint -q "$WORK/disk"; do umount --lazy "$WORK/disk"; done
    rm -rf "$WORK"
    exit "$status"
}
trap clean_up EXIT

fail() { echo "FAILED: $*" >&2; exit 1; }

# wait_for SECONDS WHAT COMMAND...: until the command succeeds.
wait_for() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || fail "waited in vain for $what"
        sleep 0.1
    done
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

fetch() { python3 -c 'import sys, urllib.request as u; sys.stdout.write(u.urlopen(sys.argv[1], timeout=5).read().decode())' "$1"; }

# field NAME: of the JSON on standard input, by its dotted path.
field() { python3 -c 'import json, sys, functools as f; print(f.reduce(lambda v, k: v[k], sys.argv[1].split("."), json.load(sys.stdin)))' "$1"; }

# orders N: so many orders, as JSON lines.
orders() { for ((n = 1; n <= $1; n++)); do printf '{"codice_lotto":"S-%d","cliente":"Bar","quantita":5,"location":"Italia"}\n' "$n"; done; }

# The hash of all that a run put out.
hash_of() { (cd "$1" && find . -name '*.jsonl' | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -d' ' -f1); }
