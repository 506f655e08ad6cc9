#!/bin/sh
# Prints the packages that `make test` tests with the race detector, or without it: test/packages.sh race | norace
#
# With it are tested: packages whose code or tests start goroutines or that run a conformance suite, and the package test,
# which runs whole servers and comes first because it takes the longest. Packages with tests that the race detector would
# slow down too much (testutil.SkipUnderRace) are tested with and without it. Of the others, test/cloud takes longest.
set -eu
cd "$(dirname "$0")/.."
concurrent='^[[:space:]]*go (func|[a-zA-Z.]+\()|\.Go\(func|conformance\.Test'

folders_with() {
	find api cmd events ingest internal -name '*.go' -exec grep -lE "$1" {} + | grep -v ^internal/testutil/ |
		sed 's|^|./|; s|/[^/]*$||' | sort -u
}

race() {
	echo ./test
	folders_with "$concurrent"
}

case "${1:-}" in
race) race ;;
norace)
	echo ./test/cloud
	go list -f '{{.Dir}}' ./... | sed "s|^$PWD|.|" | grep -vxF "$(race)"
	folders_with '^[[:space:]]*testutil\.SkipUnderRace\(' ;;
*)
	echo "usage: test/packages.sh race | norace" >&2
	exit 2 ;;
esac
