#!/bin/sh
# Makes sure of the programs that tests use besides Go: what the machine has, or else what pip installs into .venv.
# With -q it installs nothing and prints 1 if all is there. With CI=true anything missing is a failure, never a skip.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"

there() { command -v aws >/dev/null 2>&1; }

if [ "${1:-}" = -q ]; then
	if there; then echo 1; fi
	exit 0
fi
if there; then exit 0; fi
if command -v python3 >/dev/null 2>&1; then
	echo "installing the aws command line into .venv (test/requirements.txt)"
	python3 -m venv .venv && .venv/bin/pip install --quiet --disable-pip-version-check -r test/requirements.txt || true
fi
if there; then exit 0; fi
echo "The aws command line is not here and could not be installed: the tests that upload with it are left out." >&2
if [ "${CI:-}" = true ]; then exit 1; fi
