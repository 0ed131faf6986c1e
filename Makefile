# `make` lists the targets. They need Go and, for `make test`, a C compiler. They install PostgreSQL
# and build Temporal themselves.

SHELL := /bin/sh
.DEFAULT_GOAL := help

# Go cannot record the commit for `starter version` in a checkout that git does not trust, such as
# another user's.
STAMP := $(shell git rev-parse HEAD >/dev/null 2>&1 || echo -buildvcs=false)
export GOFLAGS := $(strip $(GOFLAGS) $(STAMP))

# How many packages are tested at the same time. Many of them start servers of their own, so more
# packages only wait for one another on a small machine.
TEST_PACKAGES ?= 2
LINT := bin/lint

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: bin/starter ## Send a sample mailing with private servers into a drop directory (ARGS="--help" lists the flags)
	@exec bin/starter demo $(ARGS)

.PHONY: dev
dev: bin/starter ## Run private servers and a worker until Ctrl-C (ARGS="--help" lists the flags)
	@exec bin/starter dev $(ARGS)

ENV := .env
.PHONY: compose-env
compose-env: ## Write random secrets for docker-compose.yml into .env, unless it has them
	@umask 077; for name in POSTGRES_PASSWORD DM_TOKEN_KEYS; do grep -qs "^$$name=." $(ENV) || \
		printf '%s=%s\n' "$$name" "$$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')" >> $(ENV); done

.PHONY: build
build: bin/starter bin/worker ## Build bin/starter and bin/worker

.PHONY: bin/starter bin/worker
bin/starter bin/worker:
	go build -o $@ ./$(@F)

# The packages that test whole mailings, the longest first. They take minutes and mostly wait.
MAILINGS := ./test/chaos ./test/delivery ./test/crash ./test/operation ./test/cli ./test/inputs ./test/feedback \
	./test/reach

.PHONY: check
check: lint ## Run the quick checks in under two minutes: format, vet, staticcheck, workflowcheck, unit tests
	@slow=$$(go list $(MAILINGS)) && fast=$$(go list ./... | grep -vxF "$$slow") && \
		echo "go test -short, without the tests of whole mailings (make test)" && \
		go test -short -p $(TEST_PACKAGES) $$fast

.PHONY: lint
lint: ## Run only the static checks
	@go build -C tools/lint -o ../../$(LINT)/ tool
	@echo "gofmt -l"; wrong=$$(gofmt -l .) && test -z "$$wrong" || { \
		echo "not formatted, run gofmt -w on:" >&2; echo "$$wrong" >&2; exit 1; }
	go test ./test/columns
	go vet ./...
	cd tools/compose && go vet ./...
	cd tools/uitest && go vet ./...
	$(LINT)/staticcheck ./...
	$(LINT)/workflowcheck -config tools/lint/workflowcheck.yaml ./workflows/...

# The tests of whole mailings begin first, and the others run beside them. With -count=1, Go runs
# each test again: it does not see changes of the programs that a test starts, and of files outside
# the test's module.
# With GORACE, no program of a test sleeps a second before it exits.
.PHONY: test
test: compiler ## Run all tests with the race detector, against real servers, as the continuous integration does
	@echo "make test: all tests with the race detector, with their own PostgreSQL, Temporal and SMTP servers."
	@echo "Missing servers are installed or built first. The first build of Temporal takes 4 to 10 minutes."
	@go run ./internal/dev/servers/prepare
	GORACE="atexit_sleep_ms=0 $$GORACE" go test -race -count=1 -timeout 20m -p $(TEST_PACKAGES) $(MAILINGS) ./test/docs ./...
	cd tools/compose && go test -count=1 ./...
	@$(MAKE) --no-print-directory ui-test
	@$(MAKE) --no-print-directory ts-test

# ARGS="-artifacts -outputdir FOLDER" saves pictures of the pages.
.PHONY: ui-test
ui-test: ## Test Temporal's Web UI of mailings with a real browser; skipped without one
	@if command -v chromium || command -v chromium-browser || command -v google-chrome; then \
		go run ./internal/dev/servers/prepare && cd tools/uitest && go test -count=1 $(ARGS) .; else \
		echo "ui-test: SKIPPED, the Web UI is not tested: Chromium is not on PATH." \
			"Install it, on Debian and Ubuntu: sudo apt-get install chromium"; fi

# npm installs into a copy, so that the checkout does not change.
.PHONY: ts-test
ts-test: ## Start a mailing from TypeScript (examples/typescript); skipped without Node
	@if command -v npm; then \
		go test ./test/docs -count=1 -run '^TestTheTypeScriptExampleSendsAMailing$$' -typescript $(ARGS); else \
		echo "ts-test: SKIPPED, the TypeScript example is not tested: npm is not on PATH." \
			"Install Node 20 or newer: https://nodejs.org"; fi

# Go needs a C compiler for the race detector, except on macOS.
.PHONY: compiler
compiler:
	@cc=$$(go env CC); test "$$(go env GOOS)" = darwin || command -v $${cc%% *} >/dev/null 2>&1 || { \
		echo "make test: the C compiler ($$cc) that Go's race detector needs is not on PATH. Install it:" >&2; \
		echo "  Debian, Ubuntu: sudo apt-get install gcc libc6-dev" >&2; \
		echo "  Fedora: sudo dnf install gcc" >&2; \
		echo "  Alpine: apk add build-base" >&2; \
		echo "Or run the same tests without the race detector: go test ./..." >&2; exit 1; }

.PHONY: bench
bench: reach ## Measure the whole path as reach does, then run every benchmark
	go test -run '^$$' -bench . -benchmem -p 1 \
		$$(git grep -l '^func Benchmark' -- '*_test.go' ':!tools' | sed 's,^,./,; s,/[^/]*$$,,' | sort -u)

# The recipients of the largest mailing. 1,000,000 take about ten minutes, all the rest a quarter of an hour.
RECIPIENTS ?= 1000000
.PHONY: reach
reach: ## Measure the whole path, against smtp-source, with up to RECIPIENTS recipients (default 1000000)
	go test ./test/reach -run '^TestReach$$' -reach -reach.recipients $(RECIPIENTS) -v -timeout 120m

# `make test` runs the seeds of each fuzz test and the inputs in testdata/fuzz.
FUZZTIME ?= 30s
.PHONY: fuzz
fuzz: ## Run every fuzz test for FUZZTIME (default 30s)
	@git grep -o '^func Fuzz[A-Za-z0-9]*' -- '*_test.go' ':!tools' | sed 's,/[^/]*:func , ,' | sort -u | \
	while read -r folder name; do \
		echo "$$folder $$name"; \
		go test "./$$folder" -run '^$$' -fuzz "^$$name\$$" -fuzztime "$(FUZZTIME)" -fuzzminimizetime 2s \
			</dev/null || exit 1; done

# The last line of the output is the run's result as JSON, also after a failure.
CHAOS := -chaos.long -chaos.rounds 10 -chaos.recipients 20000 -chaos.write ../../docs/reliability.md
.PHONY: chaos
chaos: ## Break mailings at random for hours and write docs/reliability.md (ARGS="-chaos.rounds 2 ..." for less)
	@go run ./internal/dev/servers/prepare
	@result=$$(mktemp) && go test ./test/chaos -count=1 -v -timeout 6h -run '^TestChaos$$' \
		$(CHAOS) -chaos.json $$result $(ARGS); code=$$?; \
		cat $$result; rm -f $$result; exit $$code

# The last line of the output is the run's result as JSON, also after a failure. With -only, no
# document is written.
.PHONY: mutants
mutants: ## Show which small faults the tests notice, and write docs/reliability.md (ARGS="-only gate" for less)
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
schema: ## Write the JSON Schema of a mailing's input after a change
	go test ./workflows -run Schema -update

.PHONY: docs
docs: ## Write the reference of the command line (docs/cli) and its man pages (bin/man)
	go run ./starter/internal/docs -man bin/man

.PHONY: clean
clean: ## Remove bin, but not the data of `starter dev` and not the Temporal server in the user's cache
	rm -rf bin
