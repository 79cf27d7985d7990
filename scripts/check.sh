#!/usr/bin/env bash
# All checks that run no test. All are run even when one fails; the last lines name what failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly COMPOSE_FILES=(docker-compose.yml docker-compose.worker.yml docker-compose.beat.yml)
failed=()

main() {
    local features
    features=$(scripts/setup-build.sh)
    local -a what=(--workspace ${features:+"$features"})

    # The quick ones first.
    check "shell scripts" shell_scripts
    check "compose files" compose_files
    check "structure" scripts/check-structure.py
    check "paths and code map" scripts/check-docs.py
    check "advisories" scripts/check-advisories.py
    check "formatting" cargo fmt --all --check
    check "Cargo.lock" lock_file
    check "licences and sources" licences
    check "no sandbox in production" no_sandbox_in_production
    check "lints" cargo clippy "${what[@]}" --all-targets -- -D warnings
    # As in the Dockerfile. Only the crate recado has features of its own, so only it is looked at again.
    check "lints without the sandbox" cargo clippy "${what[@]}" --no-default-features --all-targets -- -D warnings
    check "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc "${what[@]}" --no-deps --document-private-items

    if [ ${#failed[@]} -gt 0 ]; then
        printf 'Failed: %s\n' "${failed[@]}" >&2
        exit 1
    fi
    echo "All checks passed."
}

check() {
    echo "== $1"
    "${@:2}" || failed+=("$1")
}

# The functions below run where set -e is off, so each returns its status explicitly.

shell_scripts() {
    local script status=0
    for script in scripts/*.sh .ci/run; do
        bash -n "$script" || status=1
    done
    if command -v shellcheck >/dev/null || scripts/apt-install.sh shellcheck; then
        shellcheck scripts/*.sh .ci/run || status=1
    else
        skipped "shellcheck is not installed; only the syntax was checked"
    fi
    return $status
}

# S002-P4: three compose files. `docker compose config` would say more, but the checks often run where there is no Docker.
compose_files() {
    local python
    python=$(python_with_yaml) || {
        skipped "there is no python3 with PyYAML (Debian: python3-yaml)"
        return 0
    }
    "$python" - "${COMPOSE_FILES[@]}" <<'EOF'
import sys, yaml

for name in sys.argv[1:]:
    with open(name, encoding="utf-8") as file:
        services = yaml.safe_load(file)["services"]
    for service, settings in services.items():
        unknown = set(settings.get("depends_on", ())) - set(services)
        if unknown or not ("image" in settings or "build" in settings):
            sys.exit(f"{name}: service {service} has no image, or waits for an unknown one: {sorted(unknown)}")
    print(f"{name}: {', '.join(services)}")
EOF
}

python_with_yaml() {
    local python
    for python in python3 /usr/bin/python3; do
        if "$python" -c 'import yaml' 2>/dev/null; then
            echo "$python"
            return 0
        fi
    done
    scripts/apt-install.sh python3-yaml && echo /usr/bin/python3
}

lock_file() {
    cargo metadata --locked --format-version 1 >/dev/null || {
        echo "Cargo.lock does not fit the manifests: run cargo check and commit it." >&2
        return 1
    }
}

# What the Dockerfile builds must not contain the providers that only pretend to deliver.
no_sandbox_in_production() {
    local program tree status=0
    for program in recado recado-api recado-worker recado-scheduler; do
        tree=$(cargo tree --package "$program" --no-default-features --edges normal --prefix none --locked) || return 1
        if grep -q '^recado-sandbox ' <<<"$tree"; then
            echo "$program contains the sandbox." >&2
            status=1
        fi
    done
    return $status
}

# Known vulnerabilities are scripts/check-advisories.py's: cargo-deny would want a database from the network, which changes
# without any commit.
licences() {
    if command -v cargo-deny >/dev/null; then
        cargo deny check licenses bans sources
    else
        skipped "cargo-deny is not installed (cargo install --locked cargo-deny)"
    fi
}

skipped() {
    echo "SKIPPED: $1" >&2
}

main "$@"
