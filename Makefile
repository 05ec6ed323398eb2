# `make demo`, `make test` and `make wheel` make the virtual environment that they need by themselves.
#   PYTHON  python 3.10 to 3.13, to make the environment with
#   DATA    data set folder for the demo; none: films are drawn
#   OUT     folder of the demo's results

PYTHON ?= python3
DATA ?=
OUT ?= build/demo
VENV := .venv
CEPHRAY := $(VENV)/bin/cephray
BUILT := $(VENV)/.built
CPP = $(wildcard csrc/*/*.cc csrc/*/*.cu csrc/*/*.h tests/fuzz/*.cc tests/fuzz/*.h)
FILMS = $(or $(DATA),$(OUT)/films)

.PHONY: demo test lint fuzz wheel clean
.DELETE_ON_ERROR:

# A run goes on, or is found finished, only where it has the same films.
demo: $(BUILT)
	@mkdir -p "$(OUT)"
	@test "$$(cat "$(OUT)/data.txt" 2>/dev/null)" = "$(FILMS)" || rm -rf "$(OUT)/run" "$(OUT)/overlays"
	@echo "$(FILMS)" > "$(OUT)/data.txt"
	@test -e "$(FILMS)" || $(CEPHRAY) synthesize --output "$(FILMS)" --count 60 --height 600 --width 484
	$(CEPHRAY) train --data "$(FILMS)" --output "$(OUT)/run" --config small \
	  --num-workers 2 --resume
	$(CEPHRAY) evaluate --checkpoint "$(OUT)/run" --data "$(FILMS)" --split test1 \
	  --json "$(OUT)/evaluate.json" --output "$(OUT)"
	@echo
	@echo "run, history, TensorBoard events   $(OUT)/run"
	@echo "errors of every film and landmark  $(OUT)/evaluate.json"
	@echo "films with truth and prediction    $(OUT)/overlays"
	@echo "all of it on one page              $(OUT)/report.html"

test: lint
	$(VENV)/bin/pytest --numprocesses 2 --dist loadfile

lint: $(BUILT)
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/clang-format --dry-run --Werror $(CPP)

# The op under AddressSanitizer and UndefinedBehaviorSanitizer: random calls, then its tests.
fuzz: $(BUILT)
	PYTHON=$(VENV)/bin/python bash scripts/sanitize.sh

# For clusters: fits the Python and the TensorFlow of this environment, and needs no compiler.
wheel: $(BUILT)
	rm -rf dist
	$(VENV)/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist/*.whl

$(BUILT): $(VENV)/.tensorflow pyproject.toml CMakeLists.txt $(wildcard csrc/*/*)
	@echo "building cephray and installing what it needs"
	$(VENV)/bin/pip install --quiet --no-build-isolation --editable '.[dev]'
	$(CEPHRAY) info
	@touch $@

# The op library is built against the TensorFlow of this environment, so that comes first.
$(VENV)/.tensorflow: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "cephray needs Python 3.10 to 3.13; $(PYTHON) is $$($(PYTHON) --version): make PYTHON=python3.12 ..."; exit 1; }
	@echo "making $(VENV) with TensorFlow, the first time a download of about 600 MB"
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --upgrade 'pip>=25.1'
	$(VENV)/bin/pip install --quiet --group build
	@touch $@

clean:
	rm -rf $(VENV) build dist
