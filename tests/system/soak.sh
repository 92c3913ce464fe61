#!/usr/bin/env bash
# The soak of `make soak`, as long as SECONDS_LONG says.
source "$(dirname "$0")/lib.sh"
python3 "$ROOT/tests/system/soak.py" "${MOKASIM:-$ROOT/target/release/mokasim}" "${SECONDS_LONG:-600}"
