# Everything that a developer types. `make` alone lists it.

GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0

OSLS := node node_modules/osls/bin/serverless.js

# The race detector needs a C compiler; without one the tests run all the same. With it comes a check of unsafe pointers, which
# costs the tests of internal/local a fifth of their time in SQLite's machine-made Go, and has nothing to tell us there.
RACE := $(shell [ "$$(go env CGO_ENABLED)" = 1 ] && command -v "$$(go env CC)" >/dev/null 2>&1 && echo "-race -gcflags=modernc.org/...=-d=checkptr=0")

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: ## run the whole pipeline here, with ./data as its data folder
	go run ./cmd/flavorless serve

.PHONY: demo
demo: ## see all of it at work, in a temporary folder
	go run ./cmd/flavorless demo

.PHONY: build
build: ## build bin/flavorless
	go build -trimpath -buildvcs=auto -o bin/flavorless ./cmd/flavorless

# Go gives a package ten minutes unless told, which the heaviest one all but needs where others keep the cores busy.
.PHONY: test
test: vet ## install what tests need, and run them all
	@test/tools.sh
	PATH="$$PWD/.venv/bin:$$PATH" FLAVORLESS_TEST_TOOLS="$$(test/tools.sh -q)" go test $(RACE) -shuffle=on -timeout=30m $(TESTFLAGS) ./...

.PHONY: vet
vet:
	go vet ./...
	@unformatted="$$(gofmt -l $$(git ls-files '*.go' 2>/dev/null || echo .))"; [ -z "$$unformatted" ] || { echo "run gofmt -w on: $$unformatted"; exit 1; }

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (2m unless told); FUZZFLAGS='-run ingest -parallel 1' for some of them
	go run ./tools/fuzz -time "$(or $(FUZZTIME),2m)" $(FUZZFLAGS) ./...

.PHONY: bench
bench: ## measure all that is promised, beside bare references (40 minutes; go run ./test/bench -help has the parts)
	go run ./test/bench

.PHONY: lint
lint: .bin/golangci-lint ## check style and the rule of who may import whom
	.bin/golangci-lint run ./...

.bin/golangci-lint: Makefile
	GOBIN="$$PWD/.bin" go install $(GOLANGCI_LINT)
	@touch $@

.PHONY: vulncheck
vulncheck: .bin/govulncheck ## look for known vulnerabilities in the code that the programs call
	.bin/govulncheck ./...

.bin/govulncheck: Makefile
	GOBIN="$$PWD/.bin" go install $(GOVULNCHECK)
	@touch $@

.PHONY: package
package: node_modules ## build the deployment on AWS into .build and .serverless, offline; STAGE=test unless told
	go run ./tools/lambdazip -o .build -limit 15 -limit authorizer=8 ./cmd/lambda/...
	$(OSLS) package --stage "$(or $(STAGE),test)" $(OSLSFLAGS)

.PHONY: deploy
deploy: ## bring it to AWS: make deploy STAGE=dev OSLSFLAGS='--region eu-west-1'; see docs/operations.md
	@case "$(STAGE)" in ''|test) echo "say which stage: make deploy STAGE=dev; docs/operations.md tells how to make one" >&2; exit 2;; esac
	@$(MAKE) package
	$(OSLS) deploy --stage "$(STAGE)" $(OSLSFLAGS)

node_modules: package.json package-lock.json
	npm ci --no-audit --no-fund
	@touch $@

.PHONY: clean
clean: ## remove what was built and installed here (not ./data)
	rm -rf bin .bin .build .serverless .venv node_modules
