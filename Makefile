# make setup | demo | demo-clean | test | format | lint | doctor      VENV=path puts the environment elsewhere
# make setup MMCV=cpu | MMCV=cuda [CUDA_ARCHS="8.0 9.0"] | MMCV=path/to/mmcv.whl: see docs/install.md
# make demo SEED=1 | TEACHER=dinov2 | CHECKPOINT=path: see docs/demo.md
VENV ?= .venv
PYTHON ?= python3.11
BIN := $(VENV)/bin
REQUIREMENTS := requirements/build.txt requirements/reference.txt
STAMP := $(VENV)/.installed
quote = '$(subst ','\'',$(1))'

# What make itself would take apart.
ODD := $(strip $(foreach c,' " $$ ; & | * ? ( ) < > ! `,$(findstring $c,$(VENV))))
ifneq ($(ODD)$(words $(VENV)),1)
$(error got VENV=$(VENV), expected a path without blanks, quotes and other signs of the shell. Remedy: put the environment elsewhere)
endif

# How mmcv's operators come about; the stamp keeps it. Without MMCV what is there stays, and a new environment gets cpu.
MADE := $(shell cat '$(STAMP)' 2>/dev/null)
WAY := $(if $(MMCV),$(if $(filter cuda,$(MMCV)),$(or $(CUDA_ARCHS),cuda),$(MMCV)),$(or $(MADE),cpu))
WHEELS := $(VENV)/mmcv/$(if $(filter %.whl,$(WAY)),given,$(subst $() ,_,$(WAY)))
ifneq ($(CUDA_ARCHS),)
ifneq ($(MMCV),cuda)
$(error got CUDA_ARCHS=$(CUDA_ARCHS) without MMCV=cuda. Remedy: make setup MMCV=cuda CUDA_ARCHS="$(CUDA_ARCHS)")
endif
endif

.PHONY: setup demo demo-clean test format lint doctor FORCE
setup: $(STAMP)

# Another way than that of the stamp, and a wheel always: its content may be another.
ifneq ($(MMCV),)
ifneq ($(filter-out %.whl,$(WAY)),$(MADE))
$(STAMP): FORCE
FORCE:
endif
endif

# mmcv compiles against the installed torch, so torch comes first; then compiling (two processors) and
# downloading (the network) go side by side. The list is complete, so nothing is left to resolve.
INSTALL := $(BIN)/pip install -q --no-compile --no-deps
$(STAMP): $(REQUIREMENTS) setup.py requirements/runtime.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null \
	  || { echo "setup: got no Python 3.11 as '$(PYTHON)'. Remedy: install it (pyenv install 3.11) or say make setup PYTHON=/path/to/python3.11"; exit 1; }
	@command -v $${CXX:-g++} >/dev/null \
	  || { echo "setup: got no C++ compiler. Remedy: install g++ (apt install g++), which builds mmcv's operators"; exit 1; }
	@case $(call quote,$(MMCV)) in \
	  ''|cpu) ;; \
	  cuda) test -x "$${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" || command -v nvcc >/dev/null \
	    || { echo "setup: got MMCV=cuda without nvcc. Remedy: install the CUDA toolkit 12.1 and set CUDA_HOME, or give a wheel that was built elsewhere (MMCV=path/to/mmcv.whl)"; exit 1; };; \
	  *.whl) test -f $(call quote,$(MMCV)) || { echo "setup: got MMCV="$(call quote,$(MMCV))", which is not a file. Remedy: give the wheel of mmcv"; exit 1; };; \
	  *) echo "setup: got MMCV="$(call quote,$(MMCV))". Remedy: say MMCV=cpu, MMCV=cuda or MMCV=path/to/mmcv.whl"; exit 1;; \
	esac
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --no-compile -r requirements/build.txt
	$(BIN)/python tools/build_mmcv.py $(TARGETS) --dry-run
	$(if $(filter %.whl,$(WAY)),rm -rf $(WHEELS))
	$(MAKE) --no-print-directory -j2 $(WHEELS) $(VENV)/.packages
	$(INSTALL) --force-reinstall $(WHEELS)/*.whl
	$(INSTALL) --no-build-isolation -e .
	$(BIN)/pip check
	@echo $(call quote,$(WAY)) > $@

TARGETS = $(if $(filter %.whl,$(WAY)),$(call quote,$(WAY)),$(WAY))
$(WHEELS): requirements/reference.txt
	rm -rf $@.tmp
	@echo "setup: mmcv's operators, $(WAY); what the compiler says is in $(VENV)/mmcv.log"
	@$(BIN)/python tools/build_mmcv.py $(TARGETS) --out $@.tmp > $(VENV)/mmcv.log 2>&1 || { tail -n 40 $(VENV)/mmcv.log; exit 1; }
	rm -rf $@ && mv $@.tmp $@

$(VENV)/.packages: requirements/reference.txt
	grep -v '^mmcv==' $< > $@.txt
	$(INSTALL) --no-build-isolation -r $@.txt
	touch $@

test: setup
	$(BIN)/python -m pytest

SEED ?= 0
TEACHER ?= stand-in
DEMO = $(BIN)/python tools/demo.py --seed $(SEED) --teacher $(call quote,$(or $(CHECKPOINT),$(TEACHER)))
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
