#!/usr/bin/env bash
# Runs the benchmarks against private servers with durable settings: scripts/bench.sh [ARGUMENTS OF recado-bench…]
#
# `--against REVISION` is a git revision here. It is checked out below target/against/ and built there, and recado-bench is
# given the folder of its programs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

revision='' taken='' programs=''

main() {
    local features target
    local -a arguments=() peers=(run --durable)
    while [ $# -gt 0 ]; do
        case $1 in
        --against | --against=*)
            take_revision "$@"
            shift "$taken"
            continue
            ;;
        # Otherwise PostgreSQL loads nothing that it does not load in production.
        --statements) peers+=(--statements) ;;
        esac
        arguments+=("$1")
        shift
    done

    scripts/setup-test.sh
    features=$(scripts/setup-build.sh)
    target=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
    # All programs, because the benchmarks start the product's own as processes.
    echo "Building Recado and its benchmarks (first time: about 8 minutes on 2 cores)…" >&2
    cargo build --release --workspace --bins ${features:+"$features"}
    if [ -n "$revision" ]; then
        build_revision "$target" "$features"
        arguments+=(--against "$programs")
    fi
    exec scripts/peers.sh "${peers[@]}" "$target/release/recado-bench" ${arguments[@]+"${arguments[@]}"}
}

# Sets revision to the commit that is meant, and taken to the number of arguments that said so.
take_revision() {
    local name
    case $1 in
    *=*) name=${1#*=} taken=1 ;;
    *) name=${2:-} taken=2 ;;
    esac
    [ -n "$name" ] || fail "--against needs a git revision."
    revision=$(git rev-parse --verify --quiet "$name^{commit}") || fail "There is no revision $name here."
}

# build_revision TARGET FEATURES: where it has not been built. Sets programs to the folder in which they are.
build_revision() {
    local folder=$1/against/$revision
    if [ ! -e "$folder/source" ]; then
        # Renamed when it is whole, so that an interrupted checkout is no checkout.
        rm -rf "$folder"
        mkdir -p "$folder/new"
        git archive "$revision" | tar -x -C "$folder/new"
        lend_dependencies "$1/release" "$folder/target/release"
        mv "$folder/new" "$folder/source"
    fi
    echo "Building $revision (first time: some minutes)…" >&2
    (cd "$folder/source" && cargo build --release --workspace --bins --target-dir "$folder/target" ${2:+"$2"})
    programs=$folder/target/release
}

# Most of a build are other people's crates, and those of both versions are mostly the same. Cargo builds what is missing.
lend_dependencies() {
    mkdir -p "$2"
    cp -a --reflink=auto "$1/deps" "$1/build" "$1/.fingerprint" "$2/"
}

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

main "$@"
