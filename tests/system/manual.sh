#!/usr/bin/env bash
# The man page names every variable that the program asks for and every file that it opens, as seen from below it.
source "$(dirname "$0")/lib.sh"

cat >"$WORK/getenv.c" <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
char *getenv(const char *name) {
    char *(*next)(const char *) = (char *(*)(const char *))dlsym(RTLD_NEXT, "getenv");
    FILE *asked = fopen(next("ASKED"), "a");
    if (asked) { fprintf(asked, "%s\n", name); fclose(asked); }
    return next(name);
}
C
gcc -shared -fPIC -o "$WORK/getenv.so" "$WORK/getenv.c"
program=$ROOT/target/debug/mokasim
"$program" man | man -l - 2>/dev/null | col -b >"$WORK/page"
cd "$WORK"
printf '[health_check]\nport = 0\n[api]\nenable_api = true\nendpoint_url = "http://127.0.0.1:1"\napi_key = "k"\n' >config.toml
printf '[health_check]\nport = 0\n[kafka.security]\nsecurity_protocol = "SASL_SSL"\nsasl_mechanism = "PLAIN"\nsasl_username = "u"\n' >secure.toml
watched() { # ARGUMENTS...
    ASKED=$WORK/asked LD_PRELOAD=$WORK/getenv.so timeout 20 strace -f -qq -e trace=openat,rename -o "$WORK/opened.$RANDOM" "$program" "$@" >/dev/null 2>&1 || true
}
watched run --demo --speed 600 --duration 30m
watched send --count 2
watched run --speed 600 --until-idle
watched run --broker 127.0.0.1:1 --data kafka --duration 1s
NOTIFY_SOCKET=$WORK/none MOKAMETRICS_KAFKA_PASSWORD=p watched run --config secure.toml --broker 127.0.0.1:1 --duration 1s
watched health --url http://127.0.0.1:1/
for command in check man --help "run --help" "completions bash" "topics list --broker 127.0.0.1:1" "--wrong"; do watched $command; done

# The languages' and libraries' own, which change nothing here.
ours=$(sort -u asked | grep -vxE 'TZ|LINES|RUST_[A-Z_]+|TMPDIR|LC_[A-Z]+|LANG.*|LOCALDOMAIN|RES_OPTIONS|HOSTALIASES|[a-z_]+_proxy|ASKED')
for variable in $ours; do grep -qw "$variable" page || fail "the man page does not name the variable $variable"; done
(($(wc -w <<<"$ours") > 15)) || fail "only seen: $ours"
# Files of its own, as the page has them: telemetry and events are data/TOPIC.jsonl. The log's folder is looked into for older ones.
files=$(grep -hoE '"[^"]*"' opened.* | tr -d '"' | grep -vE "^/(lib|usr|proc|etc|sys|dev)|^/\$|^$WORK\$" | sed "s|^$WORK/||; s|^kafka/|data/|" | grep -v '^data$\|^kafka$' | sort -u)
for file in $files; do
    case $file in
        getenv.so | secure.toml | *'*'*) continue ;;
        data/coffeemek.telemetry.*.jsonl | data/coffeemek.events.*.jsonl | data/coffeemek.orders.rejected.jsonl) file=data/TOPIC.jsonl ;;
        asked) continue ;;
    esac
    tr -d '\n' <page | tr -s ' \t' ' ' | grep -qF -- "$file" || fail "the man page does not name the file $file"
done
(($(wc -w <<<"$files") > 9)) || fail "only seen: $files"
echo "$(wc -w <<<"$ours") variables asked for and $(wc -w <<<"$files") files opened, each in the man page"
