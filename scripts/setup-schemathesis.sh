#!/usr/bin/env bash
# Makes sure that schemathesis is installed, which tests the API against its OpenAPI document, and prints its path.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

home=$(scripts/setup-venv.sh schemathesis scripts/schemathesis-requirements.txt)
echo "$home/bin/schemathesis"
