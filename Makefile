# make demo: the whole system on an embedded data set.   make test: the tests.   Both set up .venv first.
PYTHON ?= python3
VENV := .venv
DOCS := .venv-docs
RUN := $(VENV)/bin/python
SHELL := /bin/bash
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo demo-train test test-slow lint types format env docs notebooks clean-demo

demo: $(VENV)/.ready
	$(RUN) tools/demo.py

# The training that the embedded model came from: on 2 cores 13 minutes were measured for its first part, 45 and 36 for its
# last two; some 10 more with the drawing are an estimate.
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

# The whole package; what is taken as Any stands in pyproject.toml.
types: $(VENV)/.ready
	$(RUN) -m mypy

# The site in work_dirs/site/html: references made from the code, every link and ten searches checked.
docs: $(VENV)/.ready $(DOCS)/.ready
	$(RUN) -W ignore docs/site --tools $(DOCS)/bin

# Runs the notebooks; NB_ARGS=--overwrite keeps their new outputs.
notebooks: $(VENV)/.ready $(DOCS)/.ready
	cd docs/notebooks && OMP_NUM_THREADS=1 ../../$(DOCS)/bin/python -W ignore -m pytest -c /dev/null --rootdir=. \
		-p no:cacheprovider -p no:warnings --nbmake $(NB_ARGS) .
	$(RUN) docs/site/pictures.py

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

# The tools of the documentation, apart from what they document; behind them the packages of `make env`.
$(DOCS)/.ready: requirements/docs-lock.txt
	test -x $(DOCS)/bin/python || $(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install -q -r requirements/docs-lock.txt
	$(RUN) -c "import sysconfig; print('import site; site.addsitedir(%r)' % sysconfig.get_path('purelib'))" \
		> $$($(DOCS)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/zz_env.pth
	touch $@

clean-demo:
	rm -rf data/demo data/demo_windows data/demo_more_windows work_dirs/demo work_dirs/demo_train
