# Targets of a line or three; what is longer is a script in .ci/. HUBBUB_* settings go through to the service.
# Beside those: PYTHON=python3.12 chooses the interpreter, ARGS="…" goes to the program that a target runs.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run cluster test check format web docs bench chaos rolling lock clean venv dev

help: ## print this help
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: venv ## set up what is missing, then run the service and its page on this machine
	@.ci/page || echo 'hubbub: going on without the page; / answers with a hint instead' >&2
	@HUBBUB_STORE="$${HUBBUB_STORE-sqlite:///var/hubbub.db}" .venv/bin/python -m hubbub serve $(ARGS)

test: dev ## set up what is missing, then run all tests; ARGS="-k rooms" for some
	@.ci/apt chromium curl strace redis-server nginx
	@.ci/page
	@.ci/node clients/web npm test
	@.ci/node tests/support/js true
	@.ci/node tests/support/js_clients true
	@.ci/node . .venv/bin/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

check: dev ## formatting, lint, types, import rules, generated docs
	@.venv/bin/python -m ruff format --check . && .venv/bin/python -m ruff check .
	@.venv/bin/python -m mypy
	@.venv/bin/lint-imports --no-logo
	@.venv/bin/python docs/generate.py --check
	@.ci/node clients/web npm run check

format: dev ## format Python and TypeScript in place
	@.venv/bin/python -m ruff check --fix-only . && .venv/bin/python -m ruff format .
	@.ci/node clients/web npm run format

web: venv ## build the page
	@.ci/page

docs: dev ## write the generated pages of docs/reference anew
	@.venv/bin/python docs/generate.py

bench: dev ## measure; the method is in bench/README.md
	@.ci/node . .venv/bin/python -m bench $(ARGS)

cluster: dev ## three nodes, Redis, Nginx and a MongoDB-wire server on this machine; Ctrl-C ends them
	@.ci/apt nginx redis-server curl
	@.ci/page || echo 'hubbub: going on without the page' >&2
	@exec .venv/bin/python deploy/cluster.py $(ARGS)

chaos: dev ## the tests of tests/chaos at full length; ARGS="--seed 7 --store mongo" for one run of them
	@.ci/apt strace
	@.ci/node . .venv/bin/python -m pytest tests/chaos --full $(ARGS)

rolling: dev ## deploys, deaths and a failing Redis beneath 300 clients; ARGS="--seed 7" for one run of them
	@.ci/apt redis-server nginx
	@.ci/node tests/support/js_clients true
	@.ci/node . .venv/bin/python -m pytest tests/rolling --full $(ARGS)

lock: dev ## write the lock files anew; UPGRADE=1 takes the newest versions
	@.ci/lock

clean: ## remove everything that was built or installed here; databases in var/ stay
	@rm -rf .venv var/setup build dist service/hubbub/http/static clients/web/node_modules tests/support/js/node_modules tests/support/js_clients/node_modules
	@rm -rf .mypy_cache .ruff_cache .hypothesis .import_linter_cache service/*.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

venv:
	@.ci/venv

dev:
	@.ci/venv --dev
