#!/usr/bin/env bash
# Makes sure that the servers which the tests and benchmarks talk to are installed: PostgreSQL and Redis. Starts none.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

missing=()
scripts/peers.sh find postgres >/dev/null 2>&1 || missing+=(postgresql)
scripts/peers.sh find redis >/dev/null 2>&1 || missing+=(redis-server)
[ ${#missing[@]} -gt 0 ] || exit 0

status=0
scripts/apt-install.sh "${missing[@]}" || status=$?
if [ $status -eq 1 ]; then
    echo "The tests need real servers that are not installed here, and installing them needs root." >&2
    echo "On Debian and Ubuntu: sudo apt-get install ${missing[*]}" >&2
fi
[ $status -eq 0 ] || exit $status
# What a distribution installs can still be too old: say so here and not in the middle of the tests.
scripts/peers.sh find postgres >/dev/null
scripts/peers.sh find redis >/dev/null
