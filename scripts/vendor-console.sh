#!/usr/bin/env bash
# Makes the third-party files in console/assets: htmx and its extension for event streams.
#
#   scripts/vendor-console.sh
#
# They are in the repository, compressed, so that neither a build nor a browser needs the network. To take a newer version:
# change it here with the checksum of its package, run this, and run the browser tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly HTMX=4.0.1
readonly HTMX_SHA256=5fba65616ca148a86d377e9771bcada7f35faee3558651feb929eea425e13b3c
# Only for tests: it looks for what people with disabilities could not use.
readonly AXE=4.14.1
readonly AXE_SHA256=e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745

main() {
    local folder
    folder=$(mktemp -d)
    # shellcheck disable=SC2064 # The folder is known now.
    trap "rm -rf '$folder'" EXIT
    fetch "$folder" htmx.org "$HTMX" "$HTMX_SHA256"
    fetch "$folder" axe-core "$AXE" "$AXE_SHA256"
    local htmx=$folder/htmx.org/package axe=$folder/axe-core/package
    pack <"$htmx/dist/htmx.min.js" >console/assets/htmx.js.gz
    pack <"$htmx/dist/ext/hx-sse.min.js" >console/assets/hx-sse.js.gz
    pack <"$axe/axe.min.js" >tests/it/console/axe.min.js.gz
    licences "$htmx" >console/assets/THIRD-PARTY.txt
    ls -l console/assets tests/it/console/axe.min.js.gz
}

# fetch FOLDER NAME VERSION SHA256
fetch() {
    local archive=$1/$2-$3.tgz
    npm pack --silent --pack-destination "$1" "$2@$3" >/dev/null
    echo "$4  $archive" | sha256sum --check --quiet || fail "$2 $3 is not the package that was looked at."
    mkdir "$1/$2"
    tar -xzf "$archive" -C "$1/$2"
}

# Compressed without time and name, so that the same package gives the same bytes. The maps of the sources stay outside.
pack() {
    sed -E 's,(//|/\*)# sourceMappingURL=[A-Za-z.-]+\.map( ?\*/)?$,,' | gzip -9n
}

licences() {
    cat <<END
The compressed files in this folder are the work of others. They were made by scripts/vendor-console.sh from packages of the
npm registry, changed only as it says.

== htmx.js, hx-sse.js: htmx.org $HTMX, Zero-Clause BSD

$(cat "$1/LICENSE")
END
}

fail() {
    echo "$1" >&2
    exit 1
}

main
