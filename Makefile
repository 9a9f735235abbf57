# make setup   installs the pinned requirements into .venv, which belongs to this Makefile
# make demo    animates the bundled picture with the bundled clip
# make web     starts the page at http://127.0.0.1:7860; ARGS='--port 8000' gives it options
# make demo-train   trains the networks of the demo anew, about four hours on two cores; stopped and
#              started again it goes on where it was
# make test    checks the style and runs all tests: 20 to 30 minutes on two cores
# make test-all     likewise, with the optional extras, which it installs
# make test-quick   checks the style and runs the quick tests of each room: under two minutes
# make lint    checks the style and the types only
# make coverage     how much of modules/ the tests reach, by branch: twice as long as make test
# make mutation     how many small changes of the sources the tests notice: an hour or two
# make lock    locks the requirements of the CPU anew, once one has changed; needs all four Pythons:
#              PYTHONS='python3.10 ...'
# make licences     lists the licences of all packages in doc/licences.md
# make clean   removes .venv and caches
# make help    shows these lines
#
# All but clean and help run setup first, which takes no time once it is done.
# PYTHON=python3.12 chooses another interpreter than python3 (3.10 to 3.13), and
# REQUIREMENTS=requirements-cpu.txt the CPU where there is an NVIDIA driver. For the CPU on Linux,
# x86_64, packages must have the checksums of requirements-cpu.lock; LOCK= does without.

VENV := .venv
RUN := $(VENV)/bin/python
INSTALLED := $(VENV)/installed
ifndef PYTHON  # an install stays with the interpreter it was made with
PYTHON := $(or $(if $(wildcard $(INSTALLED)),$(realpath $(RUN))),python3)
endif
GPU := $(shell [ "$$(uname -m)" = x86_64 ] && nvidia-smi -L >/dev/null 2>&1 && echo yes)
REQUIREMENTS := $(if $(GPU),requirements.txt,requirements-cpu.txt)
LOCK := $(if $(filter requirements-cpu.txt,$(REQUIREMENTS)),$(if $(filter \
    Linux-x86_64,$(shell uname -sm | tr ' ' -)),requirements-cpu.lock))
TO_INSTALL := $(if $(LOCK),--require-hashes --only-binary :all: -r $(LOCK),\
    -r $(REQUIREMENTS) -r requirements-dev.txt)
NO_LOCK_HINT := $(if $(LOCK),; make LOCK= ... does without checksums)
NO_GPU_HINT := $(if $(GPU),; make REQUIREMENTS=requirements-cpu.txt ... does without the GPU)

define CHECK_PYTHON
import sys
if not (3, 10) <= sys.version_info[:2] <= (3, 13):
    sys.exit('error: %s is Python %d.%d, this project needs 3.10 to 3.13: make PYTHON=python3.12 ...'
             % ((sys.executable,) + tuple(sys.version_info[:2])))
try:
    import ensurepip, venv
except ImportError:
    sys.exit('error: %s has no venv module: install it (Debian, Ubuntu: apt install python3-venv)'
             % sys.executable)
endef
export CHECK_PYTHON

EXTRAS := requirements-faces.txt requirements-export.txt
# Those that come with packages of their own, which must not change the pinned ones.
WEB := requirements-web.txt
BROWSER := requirements-browser.txt
NOTEBOOK := requirements-notebook.txt
WEB_INSTALLED := $(VENV)/web-installed
ARGS :=

.PHONY: setup help demo web web-setup demo-train test test-all test-quick coverage mutation lint lock \
    licences clean

# The file $(INSTALLED) is written last and holds a checksum of all that an install depends on, so
# that neither an interrupted nor an outdated one passes for done.
setup:
	@wanted=$$({ "$(PYTHON)" --version && cat $(REQUIREMENTS) requirements-common.txt \
	    requirements-dev.txt $(LOCK) && echo '$(TO_INSTALL)'; } 2>&1) \
	    || { echo "error: $$wanted" >&2; exit 1; }; \
	wanted=$$(echo "$$wanted" | cksum); \
	if [ -x $(RUN) ] && [ "$$(cat $(INSTALLED) 2>/dev/null)" = "$$wanted" ]; then exit 0; fi; \
	"$(PYTHON)" -c "$$CHECK_PYTHON" || exit 1; \
	echo 'Installing $(REQUIREMENTS) into $(VENV): a few minutes, most of it the download'; \
	rm -f $(INSTALLED) && "$(PYTHON)" -m venv --clear $(VENV) \
	    && $(RUN) -m pip install --disable-pip-version-check $(if $(CI),--quiet) \
	        $(TO_INSTALL) \
	    && echo "$$wanted" > $(INSTALLED) \
	    || { echo 'error: the install failed, see above$(NO_LOCK_HINT)$(NO_GPU_HINT)' >&2; exit 1; }

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' $(firstword $(MAKEFILE_LIST))

demo: setup
	@$(RUN) demo.py --side_by_side
	@echo "The result is $(CURDIR)/result.mp4: the picture, the video, the picture in its motion"

web: web-setup
	@$(RUN) tools/webui.py $(ARGS)

web-setup: setup
	@wanted=$$(cat $(INSTALLED) $(WEB) requirements-common.txt | cksum); \
	if [ "$$(cat $(WEB_INSTALLED) 2>/dev/null)" = "$$wanted" ]; then exit 0; fi; \
	echo 'Installing $(WEB) into $(VENV): a minute, once'; \
	$(RUN) -m pip install --disable-pip-version-check --quiet -r $(WEB) \
	        -c requirements-common.txt \
	    && echo "$$wanted" > $(WEB_INSTALLED) \
	    || { echo 'error: the install failed, see above' >&2; exit 1; }

data/creatures-64: COUNT := 3000
data/creatures-128: COUNT := 2000
data/creatures-%: | setup
	@mkdir -p data
	$(RUN) tools/make_demo_dataset.py $@ --size $* --train $(COUNT) --format frames

# $(call train,CONFIG,BEFORE): a run from the weights of the run before, or on with itself.
define train
@set -e; start="$(if $(2),--checkpoint $$(ls log/$(2)/*.safetensors | tail -n 1))"; \
if ls log/$(1)/*.safetensors >/dev/null 2>&1; then start=--resume; fi; \
set -x; $(RUN) train.py --config config/$(1).yaml --save_dir log/$(1) --preload $$start
endef

demo-train: setup data/creatures-64 data/creatures-128
	$(call train,demo-64)
	$(call train,demo-128,demo-64)
	$(call train,demo-adv-128,demo-128)
	@echo 'To use it: $(RUN) demo.py --config config/demo-128.yaml --checkpoint' \
	    $$(ls log/demo-adv-128/*.safetensors | tail -n 1)

# In a process a core, at most four: each takes up to 3 GB.
test: lint
	@echo 'All tests: 20 to 30 minutes on two cores; make test-quick takes under two'
	@$(RUN) -m pytest -q -n auto --maxprocesses 4 --dist worksteal || { [ $$? -eq 1 ] \
	    && echo 'Once more, one by one, what failed while all cores were busy:' \
	    && $(RUN) -m pytest -q --last-failed --last-failed-no-failures none; }

# Without a network, or where an extra has no build, its tests are left out, which pytest says; so
# are those in a browser where there is none, and Debian's can't be installed.
test-all: setup
	@$(RUN) -m pip install --disable-pip-version-check --quiet --no-deps $(addprefix -r ,$(EXTRAS)) \
	    || echo 'note: the extras of $(EXTRAS) could not be installed, see above'
	@$(MAKE) --no-print-directory web-setup && $(RUN) -m pip install --disable-pip-version-check \
	        --quiet -r $(BROWSER) -r $(NOTEBOOK) -c requirements-common.txt \
	    || echo 'note: $(WEB), $(BROWSER) or $(NOTEBOOK) could not be installed, see above'
	@if ! command -v chromium >/dev/null && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo 'Installing Chromium for the tests of the page'; \
	    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
	        --no-install-recommends chromium fonts-noto-cjk; } >/dev/null 2>&1 \
	        || echo 'note: Chromium could not be installed; its tests are left out'; \
	fi
	@$(MAKE) --no-print-directory test

test-quick: lint
	@$(RUN) -m pytest -q -m quick

# Of what fails, make test tells; here it only counts what was reached. Folder by folder, since a
# process of the tests writes what it reached when it ends: one that is killed loses no more than that.
coverage: setup
	@rm -rf .coverage
	@for part in $$(ls -d tests/*/test_*.py | xargs -n 1 dirname | sort -u) 'tests/test_*.py'; do \
	    $(RUN) -m coverage run -m pytest -q -n auto --maxprocesses 4 --dist worksteal $$part; \
	done; true
	@$(RUN) -m coverage combine --quiet && $(RUN) -m coverage json --quiet -o .coverage/figures.json \
	    && $(RUN) tools/coverage_table.py .coverage/figures.json

mutation: setup
	@$(RUN) -m pip install --disable-pip-version-check --quiet mutmut==3.8.1
	@$(RUN) tools/mutation.py --sample 600 $(ARGS)

lint: setup
	@$(RUN) -m ruff check --quiet
	@$(RUN) -m ruff format --check --quiet
	@$(RUN) -m mypy

lock: setup
	@$(RUN) tools/lock_requirements.py $(PYTHONS)

licences: setup
	@$(RUN) tools/licences.py

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .coverage mutants
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
