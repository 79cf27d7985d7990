#!/usr/bin/env bash
# Builds the program recado and runs it: scripts/run.sh up | demo | any other of its commands
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

features=$(scripts/setup-build.sh)
target=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
recado=$target/release/recado

if [ -x "$recado" ]; then
    echo "Bringing Recado up to date…" >&2
else
    echo "Building Recado (first time: about 5 minutes on 2 cores)…" >&2
fi
cargo build --release --bin recado ${features:+"$features"}
exec "$recado" "$@"
