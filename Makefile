# What needs to be typed: make demo, make test. Everything lands in .venv beside this file.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
ARGS ?=
# A file's tests share what they export, so a file stays with one worker. Workers hold TensorFlow.
PARALLEL ?= --numprocesses=auto --maxprocesses=4 --dist=loadfile

# One stamp for each set of packages; newer than these two files means nothing to install.
LOCK := pyproject.toml constraints.txt
DEMO_READY := $(VENV)/.ready-demo
TEST_READY := $(VENV)/.ready-test

.DEFAULT_GOAL := help
.PHONY: help demo test test-long test-fuzz test-kills test-web test-crosscheck test-browser \
	test-pages test-arm64 test-mediapipe test-npu test-hub test-ray test-notebooks test-install docs \
	lint format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' Makefile

demo: $(DEMO_READY) ## export ShiftViT to integer-only TFLite into exports/, and verify it
	@$(BIN)/edgevit export shiftvit --format tflite-int8 --out exports

test: lint ## all checks: lint, then the tests that take seconds (ARGS="-k name" to choose)
	@echo "pytest" && $(BIN)/pytest $(PARALLEL) $(ARGS)

test-long: $(TEST_READY) ## the tests that take minutes
	@$(BIN)/pytest -m long $(ARGS)

test-fuzz: $(TEST_READY) ## damaged and crafted inputs for about an hour (ARGS="--first SEED --cases N")
	@cd tests && PYTHONPATH=..:. ../$(BIN)/python -m robustness.campaign --cases 10000 $(ARGS)

test-kills: $(TEST_READY) ## signals at random moments of verbs that write (ARGS="--times N --seed SEED")
	@cd tests && PYTHONPATH=..:. ../$(BIN)/python -m robustness.kills --base ../build/kills $(ARGS)

test-web: $(TEST_READY) ## tools/run_onnx.mjs in onnxruntime-web; installs that into tools/node
	@npm ci --prefix tools/node --ignore-scripts --no-audit --no-fund --loglevel=error
	@$(BIN)/pytest -m "long or not long" tests/conformance/test_run_onnx_web.py $(ARGS)

test-crosscheck: $(TEST_READY) ## the ONNX files in OpenVINO and tract too; installs both (200 MB)
	@$(PIP_INSTALL) --constraint constraints.txt --editable '.[crosscheck]'
	@$(BIN)/pytest tests/conformance -k other_runtimes $(ARGS)

test-npu: $(TEST_READY) ## files for Arm's Ethos-U, compiled by Vela; installs that (10 MB)
	@$(PIP_INSTALL) --constraint constraints.txt --editable '.[npu]'
	@$(BIN)/pytest -m "long or not long" tests/conformance/test_npu.py $(ARGS)

test-hub: $(TEST_READY) ## networks of keras-hub, from config and from .keras files; installs that (60 MB)
	@$(PIP_INSTALL) --constraint constraints.txt --editable '.[hub]'
	@$(BIN)/pytest -m "long or not long" tests/conformance/test_hub.py $(ARGS)

test-ray: $(TEST_READY) ## sweeps on a Ray cluster of two nodes on this machine; installs Ray (0.2 GB)
	@$(PIP_INSTALL) --constraint constraints.txt --editable '.[ray]'
	@$(BIN)/pytest -m "long or not long" tests/unit/sweeps $(ARGS)

test-notebooks: $(TEST_READY) ## the notebooks, every cell; installs what runs them (50 MB)
	@$(PIP_INSTALL) --constraint constraints.txt --editable '.[notebooks]'
	@$(BIN)/pytest -m "long or not long" tests/golden/test_notebooks.py $(ARGS)

test-install: $(TEST_READY) ## the README from a wheel in a fresh environment of PYTHON
	@rm -rf build/wheel && $(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation \
		--wheel-dir build/wheel .
	@$(BIN)/python tools/fresh_install.py build/wheel/*.whl --python $(PYTHON) $(ARGS)

test-browser: $(TEST_READY) ## kits for browsers in headless Chromium, which must be installed
	@npm ci --prefix tools/node --ignore-scripts --no-audit --no-fund --loglevel=error
	@$(BIN)/pytest -m "long or not long" tests/conformance/test_deploy_browser.py $(ARGS)

test-pages: $(TEST_READY) ## axe over every page of site, report and kit in headless Chromium
	@$(PIP_INSTALL) --constraint constraints.txt --editable '.[docs]'
	@npm ci --prefix tools/node --ignore-scripts --no-audit --no-fund --loglevel=error
	@$(BIN)/pytest -m "long or not long" tests/conformance/test_pages.py $(ARGS)

test-arm64: $(TEST_READY) ## kits for Python on an emulated Cortex-A76, Python 3.11 and 3.13; unpacks these into build/ (0.6 GB)
	@PYTHON=$(BIN)/python tools/emulate_arm64.sh build/arm64
	@PYTHON=$(BIN)/python tools/emulate_arm64.sh build/arm64-3.13 3.13
	@$(BIN)/pytest -m "long or not long" tests/conformance/test_deploy_arm64.py $(ARGS)

test-mediapipe: $(TEST_READY) ## files in MediaPipe Tasks; installs that (0.4 GB)
	@$(PIP_INSTALL) --constraint constraints.txt --editable '.[mediapipe]'
	@$(BIN)/pytest -m "long or not long" tests/conformance/test_mediapipe.py $(ARGS)

docs: $(TEST_READY) ## the documents as a site in build/site, strictly; installs mkdocs (50 MB)
	@$(PIP_INSTALL) --constraint constraints.txt --editable '.[docs]'
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet
	@echo "build/site/index.html"

lint: $(TEST_READY) ## ruff, mypy and the import contracts
	@echo "ruff check" && $(BIN)/ruff check --quiet
	@echo "ruff format" && $(BIN)/ruff format --check --quiet || \
		{ echo "Some files are not formatted. Run: make format" >&2; exit 1; }
	@echo "mypy" && $(BIN)/mypy
	@echo "lint-imports" && $(BIN)/lint-imports --no-logo

format: $(TEST_READY) ## rewrite the files as ruff wants them
	@$(BIN)/ruff check --fix --quiet; $(BIN)/ruff format

clean: ## remove what the other targets wrote, except .venv and runs/
	@rm -rf build dist exports *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache \
		.import_linter_cache
	@find . \( -path ./$(VENV) -o -path ./runs \) -prune -o -name __pycache__ -prune -exec rm -rf {} +

# pip arrives last in a new venv: where it is missing, the venv is missing or half made.
$(BIN)/pip:
	$(if $(filter True,$(shell $(PYTHON) -c \
		'import sys; print((3, 11) <= sys.version_info < (3, 14))' 2>/dev/null)),,$(error \
		$(PYTHON) is missing or is not Python 3.11, 3.12 or 3.13. Install Python 3.11, or name another: \
		make PYTHON=python3.12))
	@echo "Creating $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)

$(DEMO_READY): $(LOCK) | $(BIN)/pip
	@echo "Installing what an export needs into $(VENV) (TensorFlow and LiteRT; minutes, once)"
	@$(PIP_INSTALL) --constraint constraints.txt --editable '.[tensorflow,litert]'
	@touch $@

# Holds all that the demo needs, so it settles both stamps.
$(TEST_READY): $(LOCK) | $(BIN)/pip
	@echo "Installing all that development needs into $(VENV) (3 GB; minutes, once)"
	@$(PIP_INSTALL) --constraint constraints.txt --editable '.[export,train,dev]'
	@touch $(DEMO_READY) $@
