#!/usr/bin/env bash
# Installs Debian packages quietly, as root or through a passwordless sudo.
#
#   scripts/apt-install.sh PACKAGE…
#
# Exit 1 where there is no apt-get or no right to use it (nothing was changed), 2 when apt-get itself failed. The caller
# decides what to do without the packages, so only the second case prints anything.
set -euo pipefail

command -v apt-get >/dev/null || exit 1
if [ "$(id -u)" -eq 0 ]; then
    as_root=()
elif command -v sudo >/dev/null && sudo -n true </dev/null 2>/dev/null; then
    as_root=(sudo -n)
else
    exit 1
fi

log=$(mktemp)
policy=/usr/sbin/policy-rc.d
policy_is_ours=no
cleanup() {
    rm -f "$log"
    [ "$policy_is_ours" = no ] || "${as_root[@]}" rm -f "$policy"
}
trap cleanup EXIT

# Debian starts a server as soon as it is installed. Only the programs are needed here, so a policy forbids it to start
# services (invoke-rc.d(8)). The policy ends with this process, even if the file is left behind.
hold_services_back() {
    [ ! -e "$policy" ] || return 0
    policy_is_ours=yes
    printf '#!/bin/sh\n# From scripts/apt-install.sh of Recado; may be deleted.\n[ ! -d /proc/%d ] || exit 101\n' $$ |
        "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
}

apt_get() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
        -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@" </dev/null >>"$log" 2>&1
}

install_packages() {
    apt_get install --no-install-recommends "$@"
}

echo "Installing $* with apt-get…" >&2
hold_services_back
# A fresh machine has no package lists, an old one has stale lists: both show only when an installation fails.
if ! install_packages "$@"; then
    if ! { apt_get update && install_packages "$@"; }; then
        cat "$log" >&2
        echo "apt-get could not install $*; its output is above." >&2
        exit 2
    fi
fi
