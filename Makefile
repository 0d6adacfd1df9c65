# The front desk: every verb of the project. `make help` lists them; continuous integration calls `make check`.
# A fresh machine needs Python 3.11 or later and make. Everything else is fetched into .tools and .venv, as locked.

MAKEFLAGS += --no-print-directory
SHELL := /bin/sh
.DEFAULT_GOAL := help

UV_VERSION := 0.13.9
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v $$p && break; done)
UV := .tools/bin/uv
BIN := .venv/bin
READY := .venv/.ready
IMAGE ?= leasehold:dev
PYTEST_ARGS ?=

# The interpreter of this machine, never one that uv would download; and no setting of another project.
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := .venv
export PYTHONUNBUFFERED := 1
# Trust what this machine trusts, as pip does: a proxy or mirror may have an authority of its own.
export UV_SYSTEM_CERTS ?= $(if $(wildcard /etc/ssl/cert.pem /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt),true,false)
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME

.PHONY: help demo testbed test unit lint fmt generate check bench image clean setup

help: ## List the verbs
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "Start with make demo. Options: make demo KEEP=1 NODE=real; make test PYTEST_ARGS='-k lease'; make image IMAGE=name:tag"

demo: $(READY) testbed ## Watch the whole thing work on real servers (KEEP=1 leaves it running, NODE=real has a real kubelet)
	$(BIN)/python -m e2e.demo $(if $(KEEP),--keep) $(if $(NODE),--node $(NODE))

testbed: $(READY) ## Build the servers that tests and demo use: etcd, API server, Vault, PostgreSQL
	$(BIN)/python -m testbed build

test: $(READY) testbed ## Run every test, on real servers where needed (PYTEST_ARGS=...)
	$(BIN)/pytest $(PYTEST_ARGS)

unit: $(READY) ## Run the tests that need no server
	$(BIN)/pytest tests -m "not live and not node" $(PYTEST_ARGS)

lint: $(READY) ## Check style, types, layers and that generated files are up to date
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tools.generate --check

fmt: $(READY) ## Format the code and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

generate: $(READY) ## Write CRDs, reference pages and the generated parts of the chart
	$(BIN)/python -m tools.generate

check: lint test ## What continuous integration runs: lint and test

bench: $(READY) testbed ## Measure load scenarios against a floor of the same run
	$(BIN)/python -m bench

image: ## Build the container image (IMAGE=name:tag)
	@command -v docker >/dev/null || { echo "make image: there is no docker command here; install Docker, or build Dockerfile with another builder" >&2; exit 1; }
	@docker info >/dev/null 2>&1 || { echo "make image: docker is installed, but its daemon does not answer; start it, or look at 'docker info'" >&2; exit 1; }
	docker build --build-arg UV_VERSION=$(UV_VERSION) --tag $(IMAGE) .

clean: ## Remove what make fetched and built in this folder (the cache of built servers stays)
	rm -rf .venv .tools dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

setup: $(READY) ## Make the virtual environment (the other verbs do it by themselves)

$(READY): pyproject.toml uv.lock $(UV)
	@echo "making .venv with the locked dependencies"
	$(UV) sync --frozen --python "$(PYTHON)"
	@touch $@

# Rebuilt when the pinned version changes, since the stamp carries it.
$(UV): .tools/uv-$(UV_VERSION)
	@touch $@

.tools/uv-$(UV_VERSION):
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or later found; install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "fetching uv $(UV_VERSION) into .tools"
	@rm -rf .tools
	@"$(PYTHON)" -m venv .tools || { echo "make: $(PYTHON) cannot make a virtual environment; on Debian and Ubuntu install python3-venv" >&2; rm -rf .tools; exit 1; }
	.tools/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@
