#!/usr/bin/env bash
# Prometheus accepts the alerts and what /metrics says; the dashboard is JSON.
source "$(dirname "$0")/lib.sh"

promtool check rules "$ROOT/deploy/prometheus-alerts.yml" >"$WORK/rules" 2>&1 || fail "$(cat "$WORK/rules")"
sed 's/mokasim_connected == 0/mokasim_connected === 0/' "$ROOT/deploy/prometheus-alerts.yml" >"$WORK/wrong.yml"
! promtool check rules "$WORK/wrong.yml" >/dev/null 2>&1 || fail "a wrong expression passes"
python3 -m json.tool "$ROOT/deploy/grafana-dashboard.json" >/dev/null || fail "the dashboard is no JSON"
cd "$WORK"
port=$(free_port)
HEALTH_CHECK_PORT=$port "$MUSL" run --demo --log-target file --log-level off &
STARTED+=($!)
wait_for 20 "/metrics" fetch "http://127.0.0.1:$port/metrics" >/dev/null
fetch "http://127.0.0.1:$port/metrics" | promtool check metrics
