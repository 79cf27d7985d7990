#!/usr/bin/env bash
# Runs the benchmarks against private servers with durable settings: scripts/bench.sh [ARGUMENTS OF recado-bench…]
#
# `--against REVISION` is a git revision here. It is checked out below target/against/ and built there, and recado-bench is
# given the folder of its programs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

main() {
    local features target
    local -a arguments=() peers=(run --durable)
    scripts/setup-test.sh
    features=$(scripts/setup-build.sh)
    target=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')

    # All programs, because the benchmarks start the product's own as processes.
    echo "Building Recado and its benchmarks (first time: about 8 minutes on 2 cores)…" >&2
    cargo build --release --workspace --bins ${features:+"$features"}

    while [ $# -gt 0 ]; do
        case $1 in
        --against | --against=*)
            take_revision "$@"
            arguments+=(--against "$(programs_of "$revision" "$target" "$features")")
            shift "$taken"
            ;;
        *)
            # Nothing that production does not load, unless it is asked for.
            [ "$1" != --statements ] || peers+=(--statements)
            arguments+=("$1")
            shift
            ;;
        esac
    done
    exec scripts/peers.sh "${peers[@]}" "$target/release/recado-bench" ${arguments[@]+"${arguments[@]}"}
}

# Sets revision, and how many arguments it took.
take_revision() {
    case $1 in
    *=*) revision=${1#*=} taken=1 ;;
    *) revision=${2:-} taken=2 ;;
    esac
    [ -n "$revision" ] || fail "--against needs a git revision"
}

# programs_of REVISION TARGET FEATURES: builds a revision where it has not been, and prints where its programs are.
programs_of() {
    local commit folder
    commit=$(git rev-parse --verify --quiet "$1^{commit}") || fail "There is no revision $1 here."
    folder=$2/against/$commit
    if [ ! -e "$folder/source/Cargo.toml" ]; then
        # Renamed when it is whole, so that an interrupted checkout is no checkout.
        rm -rf "$folder"
        mkdir -p "$folder/new"
        git archive "$commit" | tar -x -C "$folder/new"
        mv "$folder/new" "$folder/source"
        lend_dependencies "$2" "$folder/target"
    fi
    echo "Building $1 (first time: some minutes)…" >&2
    (cd "$folder/source" && cargo build --release --workspace --bins --target-dir "$folder/target" ${3:+"$3"}) >&2
    echo "$folder/target/release"
}

# Most of a build are other people's crates, and the other version's are mostly the same. Cargo builds what is not.
lend_dependencies() {
    mkdir -p "$2/release"
    cp -a --reflink=auto "$1/release/deps" "$1/release/build" "$1/release/.fingerprint" "$2/release/"
}

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

main "$@"
