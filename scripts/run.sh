#!/usr/bin/env bash
# Builds the program recado and runs it: scripts/run.sh up | demo | any other of its commands
#
# Without optimisation, which would take three times as long: this is for a first look and for development. Production and
# benchmarks have a release build.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

features=$(scripts/setup-build.sh)
target=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
recado=$target/debug/recado

if [ -x "$recado" ]; then
    echo "Bringing Recado up to date…" >&2
else
    echo "Building Recado (first time: about 4 minutes on 2 cores)…" >&2
fi
cargo build --bin recado ${features:+"$features"}
exec "$recado" "$@"
