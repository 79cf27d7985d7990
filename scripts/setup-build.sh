#!/usr/bin/env bash
# Makes sure that Recado can be compiled here: a Rust that is new enough, a C compiler, the OpenSSL headers.
#
# Prints on standard output the flags to give to cargo, often none; everything for people goes to standard error.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

check_rust() {
    local need have
    command -v cargo >/dev/null || fail \
        "cargo was not found. Install Rust from https://rustup.rs, then open a new shell or run: . ~/.cargo/env"
    need=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
    have=$(rustc --version | cut -d ' ' -f 2)
    if [ "$(printf '%s\n' "$need" "$have" | sort -V | head -n 1)" != "$need" ]; then
        fail "Recado needs Rust $need or newer and this is $have. Run: rustup update stable"
    fi
}

# SQLite and mimalloc are compiled from the C sources that their crates carry.
check_c_compiler() {
    command -v cc >/dev/null && return
    scripts/apt-install.sh build-essential ||
        fail "There is no C compiler (cc). On Debian and Ubuntu: sudo apt-get install build-essential"
}

have_openssl_headers() {
    # Where the openssl crate's own variables are set, the choice has been made.
    [ -z "${OPENSSL_DIR:-}${OPENSSL_INCLUDE_DIR:-}" ] || return 0
    command -v pkg-config >/dev/null && pkg-config --exists openssl
}

check_rust
check_c_compiler
if have_openssl_headers; then
    exit 0
elif scripts/apt-install.sh libssl-dev pkg-config && have_openssl_headers; then
    exit 0
fi
echo "No OpenSSL headers, and no right to install them (Debian: libssl-dev pkg-config): OpenSSL is compiled too," \
    "which takes some minutes more." >&2
echo "--features=vendored-openssl"
