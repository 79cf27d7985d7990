#!/usr/bin/env bash
# Makes sure that Python packages are installed, and prints their virtual environment: scripts/setup-venv.sh NAME REQUIREMENTS
#
# It is in the user's cache folder, with the versions of the file of requirements and apart from other Python packages, so that
# all clones share it and a test needs no network. It can be deleted at any time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly NAME=$1 REQUIREMENTS=$2

main() {
    local home
    home=${XDG_CACHE_HOME:-$HOME/.cache}/recado/$NAME-$(sha256sum <"$REQUIREMENTS" | cut -c 1-12)
    if [ ! -e "$home/complete" ]; then
        mkdir -p "$home"
        # Two may run at once; the second finds it installed.
        exec 9>"$home.lock"
        flock 9
        [ -e "$home/complete" ] || install "$home" >&2
    fi
    echo "$home"
}

install() {
    local python
    python=$(find_python) || fail "$NAME needs python3 with venv. On Debian and Ubuntu: sudo apt-get install python3-venv"
    echo "Installing $NAME into $1…"
    # An unfinished installation is replaced.
    "$python" -m venv --clear "$1"
    "$1/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$REQUIREMENTS"
    touch "$1/complete"
}

# On Debian, what venv needs is in a package of its own.
find_python() {
    local python
    for python in python3 /usr/bin/python3; do
        if makes_venvs "$python"; then
            echo "$python"
            return
        fi
    done
    scripts/apt-install.sh python3-venv >&2 && makes_venvs /usr/bin/python3 && echo /usr/bin/python3
}

makes_venvs() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null
}

fail() {
    echo "$1" >&2
    exit 1
}

main
