#!/usr/bin/env bash
# Makes the third-party files in api/assets: the scripts and styles of the pages /api/docs/ and /api/redoc/.
#
#   scripts/vendor-docs.sh
#
# They are in the repository, compressed, so that neither a build nor a browser needs the network. To take a newer
# version: change it here with the checksum of its package, run this, and look at both pages.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly SWAGGER_UI=5.35.0
readonly SWAGGER_UI_SHA256=1b8e891893404ea4c3558b6a87e2a3e494e7eedba41168c2ece5800a391a6ea6
# Not version 3, which is twice as large and contains addresses that it reports to.
readonly REDOC=2.5.2
readonly REDOC_SHA256=b80462bec8e96d985086b1a23768f46f0776ed37c719b9a752fd443557282e03

# ReDoc loads a picture from its maker's server. Our pages send no request to others, so an empty picture replaces it.
readonly PICTURE=https://cdn.redoc.ly/redoc/logo-mini.svg
readonly NO_PICTURE=data:image/gif\;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7

main() {
    local folder
    folder=$(mktemp -d)
    # shellcheck disable=SC2064 # The folder is known now.
    trap "rm -rf '$folder'" EXIT
    fetch "$folder" swagger-ui-dist "$SWAGGER_UI" "$SWAGGER_UI_SHA256"
    fetch "$folder" redoc "$REDOC" "$REDOC_SHA256"
    local swagger=$folder/swagger-ui-dist/package redoc=$folder/redoc/package

    pack <"$swagger/swagger-ui-bundle.js" >api/assets/swagger-ui-bundle.js.gz
    pack <"$swagger/swagger-ui.css" >api/assets/swagger-ui.css.gz
    grep -q "$PICTURE" "$redoc/bundles/redoc.standalone.js" || fail "ReDoc's picture is somewhere else now: $PICTURE"
    sed "s|$PICTURE|$NO_PICTURE|" "$redoc/bundles/redoc.standalone.js" | pack >api/assets/redoc.standalone.js.gz
    licences "$swagger" "$redoc" >api/assets/THIRD-PARTY.txt
    ls -l api/assets
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
    sed -E 's,(//|/\*)# sourceMappingURL=[a-z.-]+\.map( ?\*/)?$,,' | gzip -9n
}

licences() {
    cat <<END
The compressed files in this folder are the work of others. They were made by scripts/vendor-docs.sh from packages of
the npm registry, changed only as it says.

== swagger-ui-bundle.js, swagger-ui.css: swagger-ui-dist $SWAGGER_UI, Apache License 2.0 (the text is in ../../LICENSE)

$(cat "$1/NOTICE")

== What swagger-ui-bundle.js contains

$(cat "$1/swagger-ui-bundle.js.LICENSE.txt")

== redoc.standalone.js: redoc $REDOC, MIT

$(cat "$2/LICENSE")

== What redoc.standalone.js contains

$(cat "$2/bundles/redoc.standalone.js.LICENSE.txt")
END
}

fail() {
    echo "$1" >&2
    exit 1
}

main
