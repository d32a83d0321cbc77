# One environment, .venv, made on first use; every command below reuses it. `make help` lists them.
#
#   PYTHON=python3.12   the Python that makes .venv (3.11 to 3.13)
#   PIP_ARGS="..."      passed to every `pip install`, to choose PyTorch's own CPU or CUDA index:
#                       PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"
#   ONCE=1 FRESH=1 PORT=8000   for `make demo`;  ARGS="-k padding"   for `make test`

PYTHON ?= python3
PIP_ARGS ?=
PORT ?= 8000
ARGS ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check $(PIP_ARGS)
on = $(filter-out 0 no false,$($(1)))

.DEFAULT_GOAL := help
.PHONY: help demo test check format reproduce-quick image-check chaos lock

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' Makefile
	@echo
	@sed -n 's/^# \{0,1\}//; 2,6p' Makefile

demo: .venv/.demo-installed ## train on real lists, serve the model, rerank one list (ONCE=1 stops there)
	@$(BIN)/python -m cli.demo --port $(PORT) $(if $(call on,ONCE),--once) $(if $(call on,FRESH),--fresh)

test: .venv/.tests-installed ## run every test
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --dist loadfile $(ARGS)

check: .venv/.tests-installed ## format, lint, types, import rules, known vulnerabilities
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m ruff check .
	$(BIN)/python -m mypy
	$(BIN)/lint-imports
	$(BIN)/python -m deploy.check.audit

format: .venv/.tests-installed ## rewrite the files as `make check` wants them
	$(BIN)/python -m ruff format .
	$(BIN)/python -m ruff check --fix .

reproduce-quick: .venv/.tests-installed ## a small version of every study of the paper, into build/quick
	@$(BIN)/python -m paper.quick

image-check: .venv/.tests-installed ## build the image, run it, scrape it; rules, dashboard, manifests (ARGS="--bundle bundles/psad")
	@$(BIN)/python -m deploy.check $(ARGS)

chaos: .venv/.tests-installed ## reload, kill, overload, soak a real service: an hour, alone on the machine (ARGS="--only kill")
	@OMP_NUM_THREADS=1 $(BIN)/python -m loadtest.chaos $(ARGS)

lock: .venv/.created ## pin again what the image installs, in deploy/image/
	$(PIP) uv
	@for pair in "pyproject.toml --extra cpu --extra redis:requirements" "deploy/image/build.in:build"; do \
	  $(BIN)/uv pip compile $${pair%:*} --upgrade --generate-hashes --quiet \
	    --python-version 3.11 --python-platform linux --custom-compile-command "make lock" \
	    --output-file deploy/image/$${pair#*:}.txt || exit 1; done

.venv/.demo-installed: pyproject.toml | .venv/.created
	@echo "Installing what the demo needs into .venv (once)"
	$(PIP) --editable '.[cpu,train]'
	@touch $@

.venv/.tests-installed: pyproject.toml | .venv/.created
	@echo "Installing what the tests need into .venv (once)"
	$(PIP) --editable '.[cpu,train,baselines,loadtest,traces,dev]'
	@touch $@ .venv/.demo-installed

# Where the system's Python lacks ensurepip (Debian without python3-venv), its own pip fills .venv.
.venv/.created:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "psad needs Python 3.11, 3.12 or 3.13, but \`$(PYTHON)\` is: $$($(PYTHON) --version 2>&1)"; \
	  echo "Install one of them and name it: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@if $(PYTHON) -c 'import ensurepip' 2>/dev/null; then $(PYTHON) -m venv .venv; \
	  else $(PYTHON) -m venv --without-pip .venv && $(PYTHON) -m pip --python $(BIN)/python install pip; \
	  fi || { echo "Could not make .venv with \`$(PYTHON)\`: install its venv module or pip" \
	  "(on Debian and Ubuntu: apt install python3-venv)"; exit 1; }
	@touch $@
