#!/usr/bin/env bash
# Makes sure that Playwright is installed, with which the tests use the console as a person does, and prints its Python.
#
# It is in the user's cache folder, with the versions of scripts/playwright-requirements.txt and apart from other Python
# packages, and it uses the system's Chromium: no browser is downloaded.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly REQUIREMENTS=scripts/playwright-requirements.txt

main() {
    local home
    home=${XDG_CACHE_HOME:-$HOME/.cache}/recado/playwright-$(sha256sum <"$REQUIREMENTS" | cut -c 1-12)
    if [ ! -e "$home/complete" ]; then
        mkdir -p "$home"
        # Two may run at once; the second finds it installed.
        exec 9>"$home.lock"
        flock 9
        [ -e "$home/complete" ] || install "$home" >&2
    fi
    echo "$home/bin/python"
}

install() {
    python3 -c 'import venv, ensurepip' 2>/dev/null || scripts/apt-install.sh python3-venv ||
        fail "Playwright needs python3 with venv. On Debian and Ubuntu: sudo apt-get install python3-venv"
    echo "Installing Playwright into $1…"
    # An unfinished installation is replaced.
    python3 -m venv --clear "$1"
    "$1/bin/pip" install --quiet --disable-pip-version-check --requirement "$REQUIREMENTS"
    touch "$1/complete"
}

fail() {
    echo "$1" >&2
    exit 1
}

main
