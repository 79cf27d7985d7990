#!/usr/bin/env bash
# Runs all tests against PostgreSQL and Redis servers of their own: scripts/test.sh [ARGUMENTS OF THE TEST RUNNER…]
#
# With arguments the examples in the documentation are left out: a filter names the tests to run, and they are not among them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

main() {
    local features
    scripts/setup-test.sh --browser
    features=$(scripts/setup-build.sh)
    # Before the servers start, because this takes minutes. The programs too: some stories start them as processes.
    echo "Building the tests…" >&2
    cargo build --workspace ${features:+"$features"} --tests --bins
    exec scripts/peers.sh run "$0" --against-servers "$features" "$@"
}

# All are run even when one fails. The examples come first, so that the last line is the whole suite's.
against_servers() {
    local status=0
    local -a what=(--workspace ${1:+"$1"})
    shift
    [ $# -gt 0 ] || cargo test "${what[@]}" --quiet --doc || status=$?
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run "${what[@]}" --no-fail-fast "$@" || status=$?
    else
        cargo test "${what[@]}" --lib --bins --tests --no-fail-fast "$@" || status=$?
    fi
    return "$status"
}

if [ "${1:-}" = --against-servers ]; then
    shift
    against_servers "$@"
else
    main "$@"
fi
