#!/usr/bin/env bash
# The measurement of `make footprint`: of the static file, which is what is copied to machines, and of the release build.
source "$(dirname "$0")/lib.sh"

for package in mosquitto collectd rsyslogd; do command -v "$package" >/dev/null || fail "apt-get install mosquitto collectd-core rsyslog"; done
name=footprint-$$
undo() { "$ROOT/tests/kafka/broker" down --name "$name" >/dev/null; }
bootstrap=$("$ROOT/tests/kafka/broker" up --name "$name" --owner $$ | sed -n 's/^BOOTSTRAP=//p')
python3 "$ROOT/tests/system/footprint.py" "${SECONDS_LONG:-30}" "$bootstrap" "static=$MUSL" "release=$ROOT/target/release/mokasim"
