#!/usr/bin/env bash
# systemd accepts the unit and finds it well shut in. The notify protocol has its test in tests/supervised.rs.
source "$(dirname "$0")/lib.sh"

sed "s|/usr/bin/mokasim|$MUSL|; s|^User=.*|User=daemon|; s|^Group=.*|Group=daemon|" "$ROOT/deploy/mokasim.service" >"$WORK/mokasim.service"
problems=$(systemd-analyze verify --man=no "$WORK/mokasim.service" 2>&1) || fail "$problems"
[[ -z $problems ]] || fail "$problems"
# The scale goes from 0 to 100 here: 13 is what `systemd-analyze security` shows as 1.3.
systemd-analyze security --offline=true --threshold=13 "$ROOT/deploy/mokasim.service" >"$WORK/security" || fail "$(tail -1 "$WORK/security")"
sed '/^CapabilityBoundingSet=/d; /^PrivateUsers=/d' "$ROOT/deploy/mokasim.service" >"$WORK/open.service"
! systemd-analyze security --offline=true --threshold=13 "$WORK/open.service" >/dev/null || fail "an open unit passes"
tail -1 "$WORK/security"
