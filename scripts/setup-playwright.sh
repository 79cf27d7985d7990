#!/usr/bin/env bash
# Makes sure that Playwright is installed, with which the tests use the console as a person does, and prints its Python. It uses
# the system's Chromium: no browser is downloaded.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

home=$(scripts/setup-venv.sh playwright scripts/playwright-requirements.txt)
echo "$home/bin/python"
