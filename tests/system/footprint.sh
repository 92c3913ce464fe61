#!/usr/bin/env bash
# The measurement of `make footprint`, on the spool and on a broker of its own.
source "$(dirname "$0")/lib.sh"

for package in mosquitto collectd rsyslogd; do command -v "$package" >/dev/null || fail "apt-get install mosquitto collectd-core rsyslog"; done
name=footprint-$$
undo() { "$ROOT/tests/kafka/broker" down --name "$name" >/dev/null; }
bootstrap=$("$ROOT/tests/kafka/broker" up --name "$name" --owner $$ | sed -n 's/^BOOTSTRAP=//p')
python3 "$ROOT/tests/system/footprint.py" "${MOKASIM:-$ROOT/target/release/mokasim}" "${SECONDS_LONG:-30}" "$bootstrap"
