#!/usr/bin/env bash
# Makes sure that the clients of tests/clients can run: prints the Python and the folder of packages for Node that they need.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly CLIENTS=$PWD/tests/clients

main() {
    local home packages
    home=$(scripts/setup-venv.sh clients tests/clients/requirements.txt)
    packages=${XDG_CACHE_HOME:-$HOME/.cache}/recado/node-$(sha256sum <"$CLIENTS/package-lock.json" | cut -c 1-12)
    if [ ! -e "$packages/complete" ]; then
        mkdir -p "$packages"
        # Two may run at once; the second finds it installed.
        exec 9>"$packages.lock"
        flock 9
        [ -e "$packages/complete" ] || install "$packages" >&2
    fi
    printf '%s\n' "$home/bin/python" "$packages/node_modules"
}

install() {
    echo "Installing packages for Node into $1…"
    cp "$CLIENTS/package.json" "$CLIENTS/package-lock.json" "$1"
    (cd "$1" && npm ci --no-audit --no-fund --ignore-scripts --loglevel error)
    touch "$1/complete"
}

main
