# The two commands: `make run` and `make test`. Everything a target brings along lands under target/.

CARGO ?= cargo
KAFKA_VERSION ?= 3.9.2
BROKER := tests/kafka/broker

.PHONY: build run test lint bench bench-kafka kafka-up kafka-down clean help
.DEFAULT_GOAL := help

build: ## build the release binary, target/release/mokasim
	$(CARGO) build --release --locked

run: build ## watch a factory work: 60 simulated seconds a second, made-up orders, records in ./data
	target/release/mokasim run --speed 60 --demo

test: ## run every test; what needs Java, Maven or Python is named at the end where it is absent
	tests/run

lint: ## formatting, clippy and the lints of Cargo.toml, warnings denied
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

bench: ## speed and memory against references in the same run
	$(CARGO) bench --locked

bench-kafka: ## our Kafka client beside librdkafka and the Java client on a real broker
	benches/kafka/compare

kafka-up: ## a real Kafka broker on loopback to play with (KAFKA_VERSION=3.9.2 or 4.3.1)
	$(BROKER) up $(KAFKA_VERSION)

kafka-down: ## stop it
	$(BROKER) down

clean: ## remove what was built and every broker's data
	-$(BROKER) down --all
	$(CARGO) clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14
