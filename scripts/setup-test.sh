#!/usr/bin/env bash
# Makes sure that what the tests need is installed. Starts nothing.
#
#   scripts/setup-test.sh             the servers that the tests and benchmarks talk to: PostgreSQL and Redis
#   scripts/setup-test.sh --browser   and the rest: a connection pooler, a browser, schemathesis, and the clients
#                                     that partners run: curl, Python and Node
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

main() {
    local -a missing=()
    scripts/peers.sh find postgres >/dev/null 2>&1 || missing+=(postgresql)
    scripts/peers.sh find redis >/dev/null 2>&1 || missing+=(redis-server)
    if [ "${1:-}" = --browser ]; then
        [ -x /usr/sbin/pgbouncer ] || missing+=(pgbouncer)
        # Without any font a screenshot shows empty boxes, so one is installed with the browser.
        command -v chromium >/dev/null || missing+=(chromium fonts-liberation)
        command -v curl >/dev/null || missing+=(curl)
        command -v npm >/dev/null || missing+=(nodejs npm)
    fi
    [ ${#missing[@]} -eq 0 ] || install "${missing[@]}"
    # What a distribution installs can still be too old. Fail here and not in the middle of the tests.
    scripts/peers.sh find postgres >/dev/null
    scripts/peers.sh find redis >/dev/null
    if [ "${1:-}" = --browser ]; then
        scripts/setup-schemathesis.sh >/dev/null
        scripts/setup-clients.sh >/dev/null
        scripts/setup-playwright.sh >/dev/null
    fi
}

install() {
    local status=0
    scripts/apt-install.sh "$@" || status=$?
    if [ $status -eq 1 ]; then
        echo "The tests need programs that are not installed here, and installing them needs root." >&2
        echo "On Debian and Ubuntu: sudo apt-get install $*" >&2
    fi
    [ $status -eq 0 ] || exit $status
}

main "$@"
