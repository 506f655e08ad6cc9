# The commands for developers; `make` without a target lists them.

GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0

OSLS := node node_modules/osls/bin/serverless.js

# The race detector needs a C compiler. checkptr is off for SQLite, whose Go was generated from C: it would cost the tests of
# internal/local a fifth of their time.
RACE := $(shell [ "$$(go env CGO_ENABLED)" = 1 ] && command -v "$$(go env CC)" >/dev/null 2>&1 && echo "-race -gcflags=modernc.org/...=-d=checkptr=0")

CPUS := $(shell getconf _NPROCESSORS_ONLN)

# go test stops a package after ten minutes by default, which is too little on a busy machine.
TEST := go test -shuffle=on -vet=off -timeout=30m

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: ## run the server with ./data as its data folder
	go run ./cmd/flavorless serve

.PHONY: demo
demo: ## show the whole pipeline at work in a temporary folder
	go run ./cmd/flavorless demo

.PHONY: build
build: ## build bin/flavorless
	go build -trimpath -buildvcs=auto -o bin/flavorless ./cmd/flavorless

.PHONY: test
test: vet ## run all tests, and install the programs that they need
	@test/tools.sh
	@$(MAKE) --no-print-directory -j2 -k test-race test-norace

# Both run at the same time, because many tests wait for another process.
.PHONY: test-race test-norace
test-race test-norace: export PATH := $(CURDIR)/.venv/bin:$(PATH)
test-race:
	@FLAVORLESS_TEST_TOOLS="$$(test/tools.sh -q)" $(TEST) -p $(CPUS) $(RACE) $(TESTFLAGS) $$(test/packages.sh race)
test-norace:
	@FLAVORLESS_TEST_TOOLS="$$(test/tools.sh -q)" $(TEST) -p $$((($(CPUS) + 1) / 2)) $(TESTFLAGS) \
		$$(test/packages.sh norace)

.PHONY: test-fast
test-fast: ## run the tests that need Go alone and are quick, for the loop while typing
	@go test -short -vet=off -p $$(($(CPUS) + 1)) -parallel $$((2 * $(CPUS))) $(TESTFLAGS) \
		$$(go list ./... | grep -vE '/test/(cloud|template|firstload)|/tools/|/aws/topics$$|/s3store$$')

.PHONY: vet
vet:
	go vet ./...
	@unformatted="$$(gofmt -l $$(git ls-files '*.go' 2>/dev/null || echo .))"; [ -z "$$unformatted" ] || { echo "run gofmt -w on: $$unformatted"; exit 1; }

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (default 2m); FUZZFLAGS='-run ingest -parallel 1' selects some
	go run ./tools/fuzz -time "$(or $(FUZZTIME),2m)" $(FUZZFLAGS) ./...

.PHONY: bench
bench: ## measure the promised figures against bare references (40 minutes; go run ./test/bench -help lists the parts)
	go run ./test/bench

.PHONY: lint
lint: .bin/golangci-lint ## check style and which packages may import which
	.bin/golangci-lint run ./...

.bin/golangci-lint: Makefile
	GOBIN="$$PWD/.bin" go install $(GOLANGCI_LINT)
	@touch $@

.PHONY: vulncheck
vulncheck: .bin/govulncheck ## check the code that the programs call for known vulnerabilities
	.bin/govulncheck ./...

.bin/govulncheck: Makefile
	GOBIN="$$PWD/.bin" go install $(GOVULNCHECK)
	@touch $@

.PHONY: package
package: node_modules ## build the AWS deployment into .build and .serverless, offline (default STAGE=test)
	go run ./tools/lambdazip -o .build -limit 15 -limit authorizer=8 ./cmd/lambda/...
	$(OSLS) package --stage "$(or $(STAGE),test)" $(OSLSFLAGS)

.PHONY: deploy
deploy: ## deploy to AWS: make deploy STAGE=dev OSLSFLAGS='--region eu-west-1'; see docs/operations.md
	@case "$(STAGE)" in ''|test) echo "name a stage, as in make deploy STAGE=dev; docs/operations.md describes how to create one" >&2; exit 2;; esac
	@$(MAKE) package
	$(OSLS) deploy --stage "$(STAGE)" $(OSLSFLAGS)

node_modules: package.json package-lock.json
	npm ci --no-audit --no-fund
	@touch $@

.PHONY: clean
clean: ## remove everything that was built or installed here, but not ./data
	rm -rf bin .bin .build .serverless .venv node_modules
