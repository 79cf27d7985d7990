#!/usr/bin/env bash
# Runs the benchmarks against private servers with durable settings: scripts/bench.sh [ARGUMENTS OF recado-bench…]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup-test.sh
features=$(scripts/setup-build.sh)
target=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')

# All programs, because the benchmarks start the product's own as processes.
echo "Building Recado and its benchmarks (first time: about 8 minutes on 2 cores)…" >&2
cargo build --release --workspace --bins ${features:+"$features"}
exec scripts/peers.sh run --durable "$target/release/recado-bench" "$@"
