#!/usr/bin/env bash
# Runs all tests against PostgreSQL and Redis servers of their own: scripts/test.sh [ARGUMENTS OF THE TEST RUNNER…]
#
# With arguments the examples in the documentation are left out: a filter names the tests to run, and they are not among them.
# At the end it says how long each part took.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# "setup 2 s · build 180 s", and when the part now running began. Both go on to the second half of this script.
export TEST_PARTS TEST_PART_BEGAN

main() {
    local features
    scripts/setup-test.sh --browser
    features=$(scripts/setup-build.sh)
    ends setup
    # Before the servers start, because this takes minutes. The programs too: some stories start them as processes.
    echo "Building the tests…" >&2
    cargo build --workspace ${features:+"$features"} --tests --bins
    ends build
    exec scripts/peers.sh run "$0" --against-servers "$features" "$@"
}

# All are run even when one fails. The examples are compiled and run while the first stories wait for browsers and servers.
against_servers() {
    local status=0 examples='' told
    local -a what=(--workspace ${1:+"$1"})
    # Half as many again as there are processors: some stories wait, for servers that hang and leases that end.
    local threads=$(($(nproc) * 3 / 2))
    export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$threads} NEXTEST_TEST_THREADS=${NEXTEST_TEST_THREADS:-$threads}
    shift
    trust_one_authority
    ends servers
    if [ $# -eq 0 ]; then
        told=$(mktemp)
        cargo test "${what[@]}" --quiet --doc >"$told" 2>&1 &
        examples=$!
    fi
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run "${what[@]}" --no-fail-fast "$@" || status=$?
    else
        cargo test "${what[@]}" --lib --bins --tests --no-fail-fast "$@" || status=$?
    fi
    if [ -n "$examples" ]; then
        wait "$examples" || status=$?
        echo "The examples in the documentation:" >&2
        grep -v '^$' "$told" >&2 || true
        rm -f "$told"
    fi
    ends stories
    echo "Time: $TEST_PARTS" >&2
    return "$status"
}

# No story speaks to a public server, and reading all whom the system trusts took a fifth of the time of a short one.
trust_one_authority() {
    local all=/etc/ssl/certs/ca-certificates.crt one
    if [ -z "${SSL_CERT_FILE:-}" ] && [ -s "$all" ]; then
        one=$(mktemp)
        sed '/END CERTIFICATE/q' "$all" >"$one"
        export SSL_CERT_FILE=$one
    fi
}

ends() {
    local now
    now=$(date +%s)
    TEST_PARTS+="${TEST_PARTS:+ · }$1 $((now - TEST_PART_BEGAN)) s"
    TEST_PART_BEGAN=$now
}

if [ "${1:-}" = --against-servers ]; then
    shift
    against_servers "$@"
else
    TEST_PARTS='' TEST_PART_BEGAN=$(date +%s)
    main "$@"
fi
