# Recado's commands. Each sets up what it needs: on a fresh Debian 12, git, build-essential and rustup are enough.
#
# ARGS is passed on:  make test ARGS="-E 'test(dispatch)'"   make bench ARGS="--help"   make run ARGS="--help"
# CARGO_TARGET_DIR and cargo's other settings are respected.

# Where rustup puts cargo; the shell in which rustup was just installed does not know it yet.
export PATH := $(PATH):$(HOME)/.cargo/bin

.DEFAULT_GOAL := help
.PHONY: help run demo test check bench

# Every recipe ends in exec, so that Ctrl-C and `kill` reach the program itself and its exit status comes back.

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: ## build and start everything on http://127.0.0.1:8000, with no server and no setting needed
	@exec scripts/run.sh up $(ARGS)

demo: ## the same on a free port and in a temporary folder; ends when the sample message has been delivered
	@exec scripts/run.sh demo $(ARGS)

test: ## all tests, against private PostgreSQL and Redis servers that are gone afterwards
	@exec scripts/test.sh $(ARGS)

check: ## formatting, lints, structure, documentation, licences, scripts, compose files
	@exec scripts/check.sh

bench: ## the benchmarks, against private servers that write to disk as in production
	@exec scripts/bench.sh $(ARGS)
