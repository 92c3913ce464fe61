# The two commands: `make run` and `make test`. Everything a target brings along lands under target/.

CARGO ?= cargo
KAFKA_VERSION ?= 3.9.2
BROKER := tests/kafka/broker
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
BINARY ?= target/release/mokasim
DEB_TARGET ?= x86_64-unknown-linux-musl
CARGO_DEB := target/tools/bin/cargo-deb
CARGO_DEB_VERSION := 3.8.0

.PHONY: build run test test-cluster lint bench bench-kafka bench-static fuzz kafka-up kafka-down static share install deb test-system footprint soak clean help
.DEFAULT_GOAL := help

build: ## build the release binary, target/release/mokasim
	$(CARGO) build --release --locked

run: build ## watch a factory work: 60 simulated seconds a second, made-up orders, records in ./data
	target/release/mokasim run --speed 60 --demo

test: ## run every test; what needs Java, Maven or Python is named at the end where it is absent
	tests/run

test-cluster: ## what a cluster of three brokers may suffer, groups and ticks, in full length (11 minutes)
	MOKASIM_LONG=1 $(CARGO) test --locked --test kafka_cluster -- --nocapture --test-threads=1

lint: ## formatting, clippy and the lints of Cargo.toml, warnings denied
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

bench: ## speed and memory against references in the same run
	$(CARGO) bench --locked

bench-kafka: ## our Kafka client beside librdkafka and the Java client on a real broker
	benches/kafka/compare

bench-static: build ## CPU of the static file beside the release build's, on the spool and on Kafka: at most 1.10 of it
	deploy/static x86_64-unknown-linux-musl
	benches/static.py

fuzz: ## what a broker may answer, thrown at the client that reads it: three targets, 30 s (nightly Rust)
	fuzz/run

kafka-up: ## a real Kafka broker on loopback to play with (KAFKA_VERSION=3.9.2 or 4.3.1)
	$(BROKER) up $(KAFKA_VERSION)

kafka-down: ## stop it
	$(BROKER) down

static: ## one static file of at most 5 MB for each of x86_64, aarch64 and armv7: target/TARGET/static/mokasim
	deploy/static

target/release/mokasim:
	$(MAKE) build

share: $(BINARY) ## the man page and the completions of BINARY, in target/share
	mkdir -p target/share
	$(BINARY) man > target/share/mokasim.1
	for shell in bash zsh fish; do $(BINARY) completions $$shell > target/share/mokasim.$$shell || exit; done

install: ## copy BINARY, what belongs to it and, unless there is one, a configuration: PREFIX=/usr/local DESTDIR=
	$(MAKE) share
	install -D $(BINARY) "$(DESTDIR)$(PREFIX)/bin/mokasim"
	install -D -m 644 target/share/mokasim.1 "$(DESTDIR)$(PREFIX)/share/man/man1/mokasim.1"
	install -D -m 644 target/share/mokasim.bash "$(DESTDIR)$(PREFIX)/share/bash-completion/completions/mokasim"
	install -D -m 644 target/share/mokasim.zsh "$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_mokasim"
	install -D -m 644 target/share/mokasim.fish "$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/mokasim.fish"
	install -d "$(DESTDIR)$(PREFIX)/lib/systemd/system"
	sed 's|/usr/bin/mokasim|$(PREFIX)/bin/mokasim|; s|/etc/|$(SYSCONFDIR)/|' deploy/mokasim.service \
		> "$(DESTDIR)$(PREFIX)/lib/systemd/system/mokasim.service"
	test -e "$(DESTDIR)$(SYSCONFDIR)/mokasim/config.toml" || \
		install -D -m 644 config.toml "$(DESTDIR)$(SYSCONFDIR)/mokasim/config.toml"

# The binary may be for another machine: the man page and the completions come from a build for this one.
deb: $(CARGO_DEB) ## a Debian package of the static binary, in target/deb; DEB_TARGET says for which machine
	deploy/static $(DEB_TARGET)
	$(CARGO) build --locked
	$(MAKE) share BINARY=target/debug/mokasim
	$(CARGO_DEB) --no-build --no-strip --profile static --target $(DEB_TARGET) --output target/deb/ $(DEB_FLAGS)

$(CARGO_DEB):
	$(CARGO) install cargo-deb --locked --debug --version $(CARGO_DEB_VERSION) --root target/tools --target-dir target/tools/build

test-system: ## what changes the machine: packages, cron, a mounted disk; root on a Debian machine that may be changed
	tests/system/run

footprint: build ## memory, CPU, wake-ups and bytes written of the static file and the release build, beside mosquitto, collectd and rsyslogd
	deploy/static x86_64-unknown-linux-musl
	tests/system/footprint.sh

soak: build ## ten minutes at 600x on a broker that goes away, with bad orders and slow clients (SECONDS_LONG=600)
	tests/system/soak.sh

clean: ## remove what was built and every broker's data
	-$(BROKER) down --all
	$(CARGO) clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14
