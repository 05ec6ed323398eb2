# `make demo` and `make test` make the virtual environment that they need by themselves.
#   PYTHON  python 3.10 to 3.13 to build the environment with
#   DATA    data set folder for the demo; none: films are drawn
#   OUT     folder of the demo's results

PYTHON ?= python3
OUT ?= build/demo
DATA ?=
VENV := .venv
CEPHRAY := $(VENV)/bin/cephray
BUILT := $(VENV)/.built

.PHONY: demo test lint fuzz clean
.DELETE_ON_ERROR:

demo: $(BUILT)
	OUT="$(OUT)" DATA="$(DATA)" CEPHRAY="$(CEPHRAY)" bash scripts/demo.sh

test: lint
	$(VENV)/bin/pytest

lint: $(BUILT)
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

# The op under AddressSanitizer and UndefinedBehaviorSanitizer: random calls, then its tests.
fuzz: $(BUILT)
	PYTHON=$(VENV)/bin/python bash scripts/sanitize.sh

$(BUILT): $(VENV)/.tensorflow pyproject.toml CMakeLists.txt $(wildcard csrc/*)
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
	rm -rf $(VENV) build
