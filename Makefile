# make demo: the whole system on an embedded data set.   make test: the tests.   Both set up .venv first.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
SHELL := /bin/bash
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo demo-train test test-slow lint format env clean-demo

demo: $(VENV)/.ready
	$(RUN) tools/demo.py

# The training that the embedded model came from, 13 minutes on 2 cores.
demo-train: $(VENV)/.ready
	$(RUN) tools/demo.py --train

# Two workers with one thread each: more threads than cores make torch wait for itself.
test: $(VENV)/.ready lint
	OMP_NUM_THREADS=1 $(RUN) -m pytest -m 'not slow' -n 2 --dist loadfile $(PYTEST_ARGS)

test-slow: $(VENV)/.ready
	$(RUN) -m pytest -m slow

lint: $(VENV)/.ready
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .

format: $(VENV)/.ready
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

env: $(VENV)/.ready

# sam2 is built against the torch before it: an isolated build would fetch a second one. torchscale, the oracle of one
# test, asks for a timm and a fairscale of its time that nothing here needs.
$(VENV)/.ready: requirements/lock.txt setup.py
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install -q setuptools==84.2.1 wheel==0.48.0
	$(RUN) -m pip install -q -r requirements/lock.txt
	SAM2_BUILD_CUDA=0 $(RUN) -m pip install -q --no-build-isolation --no-deps sam2==1.1.0
	$(RUN) -m pip install -q --no-build-isolation --no-deps torchscale==0.2.0
	$(RUN) -m pip install -q --no-build-isolation --no-deps -e .
	touch $@

clean-demo:
	rm -rf data/demo work_dirs/demo work_dirs/demo_train
