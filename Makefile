# Direct Mailer. `make` alone lists what there is. Needs Go and, for `make test`, a C compiler;
# PostgreSQL and Temporal come by themselves.

SHELL := /bin/sh
.DEFAULT_GOAL := help

# Go refuses to build in a checkout that git does not trust (another user's): build there without
# the commit in `starter version`.
STAMP := $(shell git rev-parse HEAD >/dev/null 2>&1 || echo -buildvcs=false)
export GOFLAGS := $(strip $(GOFLAGS) $(STAMP))

# Packages tested at the same time. Many start servers of their own: more than this and they wait
# for one another on a small machine.
TEST_PACKAGES ?= 2
LINT := bin/lint

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: bin/starter ## See it work: private servers, 2,000 recipients, a drop directory (ARGS="--help" for what can be set)
	@exec bin/starter demo $(ARGS)

.PHONY: dev
dev: bin/starter ## Run private servers and a worker until Ctrl-C (ARGS="--help" for what can be set)
	@exec bin/starter dev $(ARGS)

.PHONY: build
build: bin/starter bin/worker ## Build bin/starter and bin/worker

.PHONY: bin/starter bin/worker
bin/starter bin/worker:
	@go build -o $@ ./$(@F)

# The tests of whole mailings, the longest first. They take minutes, and wait most of the time.
MAILINGS := ./test/chaos ./test/delivery ./test/crash ./test/operation ./test/cli ./test/inputs ./test/reach

.PHONY: check
check: lint ## Quick checks, under two minutes: format, vet, staticcheck, workflowcheck, unit tests
	@slow=$$(go list $(MAILINGS)) && fast=$$(go list ./... | grep -vxF "$$slow") && \
		echo "go test -short, without the tests of whole mailings" && \
		go test -short -p $(TEST_PACKAGES) $$fast

.PHONY: lint
lint: ## Only the checks that run nothing
	@go build -C tools/lint -o ../../$(LINT)/ tool
	@echo "gofmt -l"; wrong=$$(gofmt -l .) && test -z "$$wrong" || { echo "not formatted, run gofmt -w on:" >&2; echo "$$wrong" >&2; exit 1; }
	go vet ./...
	cd tools/compose && go vet ./...
	cd tools/uitest && go vet ./...
	$(LINT)/staticcheck ./...
	$(LINT)/workflowcheck -config tools/lint/workflowcheck.yaml ./workflows/...

# The tests of whole mailings come first: the others run beside them. -count=1: Go keeps results,
# and does not see a change of docker-compose.yml, which is outside that test's module.
.PHONY: test
test: compiler ## Everything, as the continuous integration does: all tests with the race detector, against real servers
	@echo "make test: all tests with the race detector, against a PostgreSQL, a Temporal and mail servers of their own on this machine."
	@echo "Missing servers are installed or built first; the first build of Temporal takes 4 to 10 minutes on 2 cores."
	@go run ./internal/dev/servers/prepare
	go test -race -timeout 40m -p $(TEST_PACKAGES) $(MAILINGS) ./test/docs ./...
	cd tools/compose && go test -count=1 ./...
	@$(MAKE) --no-print-directory ui-test
	@$(MAKE) --no-print-directory ts-test

# ARGS="-artifacts -outputdir FOLDER" keeps the pictures of the pages.
.PHONY: ui-test
ui-test: ## Look at mailings in Temporal's Web UI with a real browser; skipped where there is none
	@if command -v chromium || command -v chromium-browser || command -v google-chrome; then \
		go run ./internal/dev/servers/prepare && cd tools/uitest && go test -count=1 $(ARGS) .; else \
		echo "ui-test: SKIPPED, the Web UI is not tested: there is no Chromium on PATH. Debian, Ubuntu: sudo apt-get install chromium"; fi

# npm installs into a copy: the checkout stays as it is.
.PHONY: ts-test
ts-test: ## Start a mailing from TypeScript (examples/typescript); skipped where there is no Node
	@if command -v npm; then \
		go test ./test/docs -count=1 -run '^TestTheTypeScriptExampleSendsAMailing$$' -typescript $(ARGS); else \
		echo "ts-test: SKIPPED, the TypeScript example is not tested: there is no npm on PATH. Install Node 20 or newer: https://nodejs.org"; fi

# The race detector is C; Go builds it without a C compiler on macOS only.
.PHONY: compiler
compiler:
	@cc=$$(go env CC); test "$$(go env GOOS)" = darwin || command -v $${cc%% *} >/dev/null 2>&1 || { \
		echo "make test needs a C compiler ($$cc) for Go's race detector, and there is none. Install one:" >&2; \
		echo "  Debian, Ubuntu: sudo apt-get install gcc libc6-dev    Fedora: sudo dnf install gcc    Alpine: apk add build-base" >&2; \
		echo "Without one, \`go test ./...\` runs the same tests and finds no data races." >&2; exit 1; }

.PHONY: bench
bench: reach ## Measure the whole path (as reach), then run every benchmark, one package after the other
	go test -run '^$$' -bench . -benchmem -p 1 $$(git grep -l '^func Benchmark' -- '*_test.go' ':!tools' | sed 's,^,./,; s,/[^/]*$$,,' | sort -u)

# How far: the largest mailing. The two steps below it, and everything else, take about ten minutes;
# 1,000,000 recipients as long again.
RECIPIENTS ?= 1000000
.PHONY: reach
reach: ## Measure the whole path against smtp-source, a slow link, and lists up to RECIPIENTS (default 1000000)
	go test ./test/reach -run '^TestReach$$' -reach -reach.recipients $(RECIPIENTS) -v -timeout 120m

# A fuzzer's seeds, and what it has found before (testdata/fuzz), are tested by `make test` already.
FUZZTIME ?= 30s
.PHONY: fuzz
fuzz: ## Run every fuzz test for FUZZTIME (default 30s)
	@git grep -o '^func Fuzz[A-Za-z0-9]*' -- '*_test.go' ':!tools' | sed 's,/[^/]*:func , ,' | sort -u | while read -r folder name; do \
		echo "$$folder $$name"; go test "./$$folder" -run '^$$' -fuzz "^$$name\$$" -fuzztime "$(FUZZTIME)" -fuzzminimizetime 2s </dev/null || exit 1; done

# The last line is the run's result, whether it went well or not.
CHAOS := -chaos.long -chaos.rounds 10 -chaos.recipients 20000 -chaos.write ../../docs/reliability.md
.PHONY: chaos
chaos: ## Break mailings at random, at length, and write docs/reliability.md (ARGS="-chaos.rounds 2 ..." for less)
	@go run ./internal/dev/servers/prepare
	@result=$$(mktemp) && go test ./test/chaos -count=1 -v -timeout 6h -run '^TestChaos$$' $(CHAOS) -chaos.json $$result $(ARGS); code=$$?; \
		cat $$result; rm -f $$result; exit $$code

# The last line is the run's result, whether it went well or not. A part of the mutants, by -only,
# writes no document.
.PHONY: mutants
mutants: ## Put small faults into a copy, show which the tests notice, write docs/reliability.md (ARGS="-only gate" for less)
	@go run ./test/mutants -write docs/reliability.md $(ARGS)

# Its database of vulnerabilities comes from the network, so `make check` does not run it.
.PHONY: vulncheck
vulncheck: ## Look for known vulnerabilities in the dependencies that the programs use
	go run golang.org/x/vuln/cmd/govulncheck@latest ./...

# The newest goreleaser may want a newer Go: GORELEASER=v2.15.4 works with Go 1.26.
GORELEASER ?= latest
.PHONY: release-check
release-check: ## Check the configuration of releases, .goreleaser.yaml
	go run github.com/goreleaser/goreleaser/v2@$(GORELEASER) check

.PHONY: schema
schema: ## Write the JSON Schema of a mailing's input again, after a change of the input
	go test ./workflows -run Schema -update

.PHONY: docs
docs: ## Write the reference of the command line (docs/cli) and its man pages (bin/man) from the commands
	go run ./starter/internal/docs -man bin/man

.PHONY: clean
clean: ## Remove what was built here (not the data of `starter dev`, nor the Temporal server in the user's cache)
	rm -rf bin
