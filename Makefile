# make setup | demo | demo-clean | test | format | lint | doctor      VENV=path puts the environment elsewhere
# make demo SEED=1 | TEACHER=dinov2 | CHECKPOINT=path: see docs/demo.md
VENV ?= .venv
PYTHON ?= python3.11
BIN := $(VENV)/bin
REQUIREMENTS := requirements/build.txt requirements/reference.txt
STAMP := $(VENV)/.installed

.PHONY: setup demo demo-clean test format lint doctor
setup: $(STAMP)

# mmcv compiles against the installed torch, so torch comes first; then compiling (two processors) and
# downloading (the network) go side by side. The list is complete, so nothing is left to resolve.
INSTALL := $(BIN)/pip install -q --no-compile --no-deps
$(STAMP): $(REQUIREMENTS) setup.py requirements/runtime.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null \
	  || { echo "setup: got no Python 3.11 as '$(PYTHON)'. Remedy: install it (pyenv install 3.11) or say make setup PYTHON=/path/to/python3.11"; exit 1; }
	@command -v $${CXX:-g++} >/dev/null \
	  || { echo "setup: got no C++ compiler. Remedy: install g++ (apt install g++), which builds mmcv's operators"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --no-compile -r requirements/build.txt
	$(MAKE) --no-print-directory -j2 $(VENV)/mmcv.whl.d $(VENV)/.packages
	$(INSTALL) $(VENV)/mmcv.whl.d/*.whl
	$(INSTALL) --no-build-isolation -e .
	$(BIN)/pip check
	touch $@

# -g0: debug symbols double the compile time.
$(VENV)/mmcv.whl.d: requirements/reference.txt
	CFLAGS=-g0 MAX_JOBS=2 $(BIN)/pip wheel -q --no-build-isolation --no-deps -w $@.tmp $$(grep '^mmcv==' $<)
	mv $@.tmp $@

$(VENV)/.packages: requirements/reference.txt
	grep -v '^mmcv==' $< > $@.txt
	$(INSTALL) --no-build-isolation -r $@.txt
	touch $@

test: setup
	$(BIN)/python -m pytest

SEED ?= 0
TEACHER ?= stand-in
DEMO = $(BIN)/python tools/demo.py --seed $(SEED) --teacher $(if $(CHECKPOINT),$(CHECKPOINT),$(TEACHER))
demo: setup
	$(DEMO)

demo-clean:
	$(DEMO) --clean

doctor: setup
	$(BIN)/python tools/doctor.py

$(BIN)/ruff: requirements/lint.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -r requirements/lint.txt
	touch $@

format: $(BIN)/ruff
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

lint: $(BIN)/ruff
	$(BIN)/ruff check .
