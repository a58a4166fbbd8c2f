# The two commands for a new clone are `make run` and `make test`; each makes the environment it needs.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ONCE   ?=
QUICK  ?=
MINUTES ?= 30
RATE   ?= 300
SEED   ?= 1
ARGS   ?=

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
BUILDER ?= $(firstword $(foreach name,docker podman buildah,$(shell $(name) info >/dev/null 2>&1 && echo $(name))))
IMAGE   ?= dpp-feedback:$(VERSION)
BASE    ?=
SOURCE  ?=

.DEFAULT_GOAL := help
.PHONY: help run test test-cluster image test-image bench soak fuzz screenshots lint lint-manifests format constraints licences sbom audit clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/ready ## Start everything on this machine and watch 1,000 messages arrive (ONCE=1: stop after the table)
	@$(BIN)/dpp-feedback run $(if $(ONCE),--once) $(ARGS)

test: lint lint-manifests ## Everything, from lint to the end-to-end run; two test files at a time
	@$(BIN)/pytest --numprocesses 2 --dist loadfile $(ARGS)

test-cluster: $(VENV)/ready ## k8s/overlays/local in the cluster of KUBECONFIG, and away again
	@$(BIN)/pytest dpp_feedback_tests/k8s/test_cluster.py --cluster $(ARGS)

image: ## The image, with docker, podman or buildah (BUILDER=, IMAGE=, BASE=, SOURCE=)
	@test -n "$(BUILDER)" || { echo "docker, podman or buildah is needed, and none of them answers."; exit 1; }
	@$(BUILDER) build $(if $(BASE),--build-arg BASE=$(BASE)) --build-arg VERSION=$(VERSION) \
	  --build-arg REVISION=$$(git rev-parse HEAD) --build-arg SOURCE=$(SOURCE) -t $(IMAGE) .

test-image: $(VENV)/ready image ## Build the image and run its commands
	@$(BIN)/pytest dpp_feedback_tests/image --builder $(BUILDER) --image $(IMAGE) $(ARGS)

bench: $(VENV)/ready ## Measure, and write docs/performance.md (QUICK=1: under 3 minutes, into benchmarks/results/quick)
	@$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(ARGS)

soak: $(VENV)/ready ## Half an hour of drains and faults, then the account (MINUTES=, RATE=, SEED=)
	@$(BIN)/python -m benchmarks.soak --minutes $(MINUTES) --rate $(RATE) --seed $(SEED)

fuzz: $(VENV)/ready ## Hostile bodies for half an hour, through everything that reads one (MINUTES=, SEED=)
	@$(BIN)/pytest dpp_feedback_tests/hostile/test_fuzz.py -s --fuzz-minutes $(MINUTES) --fuzz-seed $(SEED)

screenshots: $(VENV)/ready ## Dagster's pages over a month with an incident, into screenshots/ (needs Debian's chromium)
	@$(BIN)/pytest dpp_feedback_tests/screenshots --screenshots screenshots $(ARGS)

lint: $(VENV)/ready ## ruff, mypy, bandit, and zizmor over the workflows
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/bandit --quiet --configfile pyproject.toml --recursive benchmarks dpp_feedback supply_chain
	@$(BIN)/zizmor --offline --no-progress --quiet --strict-collection --persona auditor .github

lint-manifests: $(VENV)/ready ## checkov over the manifests of production, in an environment of its own
	@test -x $(VENV)/checkov/bin/checkov || { $(PYTHON) -m venv $(VENV)/checkov; $(VENV)/checkov/bin/pip --disable-pip-version-check install --quiet checkov==3.3.30; }
	@$(BIN)/kubectl kustomize k8s/overlays/production > $(VENV)/production.yaml
	@$(VENV)/checkov/bin/checkov --config-file k8s/checkov.yaml -f $(VENV)/production.yaml

format: $(VENV)/ready ## Let ruff rewrite what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

constraints: $(VENV)/ready ## Write constraints.txt from what is installed now, and requirements/ with the wheels' hashes
	@{ echo "# The versions that were tested together; pyproject.toml has the ranges. Written by"; \
	   echo "# \`make constraints\`: a constraints file, so that it names versions and no address."; \
	   $(BIN)/pip --disable-pip-version-check freeze --exclude-editable; } > constraints.txt
	@$(BIN)/python -m supply_chain.pins

licences: $(VENV)/ready ## Write docs/licences.md; fails on a licence that nobody has allowed
	@$(BIN)/python -m supply_chain.licences

sbom: $(VENV)/ready ## Write dist/dpp-feedback.cdx.json: what the image installs, for CycloneDX
	@$(BIN)/python -m supply_chain.sbom dist/dpp-feedback.cdx.json

audit: $(VENV)/ready ## Look for advisories about what the image installs (needs the internet)
	@$(BIN)/python -m supply_chain.audit

clean: ## Remove the environment and the caches (the local stack's data stay: `dpp-feedback down --wipe`)
	@rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache

$(VENV)/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; this is %s. Name another: make PYTHON=python3.12 ..." % sys.version.split()[0])'
	@$(PYTHON) -m venv $(VENV)
	@echo "Installing the packages into $(VENV) (once, a minute or two) ..."
	@$(BIN)/pip --disable-pip-version-check install --quiet -c constraints.txt -e '.[local,kubernetes,bench,dev]'
	@touch $@
