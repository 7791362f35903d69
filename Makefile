# Two commands do everything: `make reproduce` and `make test`.
PYTHON ?= python3
CORES ?= all
# Two processes, a module's tests in one of them, fast modules first.
PYTEST := pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder
VENV := .venv
# `make setup TORCH=cpu` leaves out CUDA; pip must know PyTorch's index of CPU wheels (README.md).
TORCH ?= default
LOCK := $(if $(filter cpu,$(TORCH)),build/requirements-cpu.lock,requirements.lock)
READY := $(VENV)/.ready
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: help setup shell reproduce reproduce-nyud test test-fast lint docs lock reference benchmark clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/' | column -t -s:

setup: $(READY) ## build .venv from requirements.lock

shell: setup ## open a shell in which mtcp, snakemake and dvc are commands (or: . .venv/bin/activate)
	@echo "mtcp, snakemake and dvc are commands here; exit leaves." && exec $${SHELL:-sh}

# Rebuilt only when the lock is newer, so that a second `make` costs nothing. pip would compile on one core; a few files
# of other packages are templates, which do not compile: what is not compiled here is compiled when it is imported.
$(READY): $(LOCK) pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mtcp needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --upgrade pip
	$(VENV)/bin/pip install --quiet --no-compile --requirement $(LOCK)
	$(VENV)/bin/python -m compileall -qq -j 0 $(VENV)/lib || true
	$(VENV)/bin/pip install --quiet --no-deps --editable .
	touch $@

# The same versions, without CUDA's packages: PyTorch marks its CPU wheels by a local version.
build/requirements-cpu.lock: requirements.lock
	mkdir -p build
	sed -E '/^(nvidia-|cuda-|triton)/d; s/^(torch|torchvision)==([^ ;]+)/\1==\2+cpu/' $< > $@

reproduce: setup ## run the whole pipeline and leave a report in reports/
	snakemake --cores $(CORES)

# Its grid takes the place of params.yaml, never of changes there.
NYUD_GRID := examples/photographs/params.yaml

reproduce-nyud: setup ## the comparison on photographs of NYUv2: NYUD=PATH says where they are, once (hours)
	@cmp -s $(NYUD_GRID) params.yaml || git diff --quiet HEAD -- params.yaml || \
	  { echo "params.yaml has changes of your own: commit them, or run 'snakemake' with benchmark nyud_lite in it" >&2; exit 2; }
	$(if $(NYUD),mtcp data import nyud '$(NYUD)')
	cp $(NYUD_GRID) params.yaml
	snakemake --cores $(CORES)

test: setup ## run all tests, the fast ones first
	$(PYTEST)

test-fast: setup ## run the fast tests: about two minutes
	$(PYTEST) -m "not slow"

lint: setup ## check format, style, types and workflow
	ruff format --check .
	ruff check .
	pyright --threads 2
	snakefmt --check Snakefile workflow
	python workflow/lint.py

docs: setup ## build the documentation as a site in build/site; a broken link is an error
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet

lock: ## compile requirements.lock from pyproject.toml (needs uv)
	uv pip compile --universal --python-version 3.11 --all-extras --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links pyproject.toml -o requirements.lock

reference: setup ## write the configuration's reference and schemas
	mtcp show reference > docs/configuration.md
	for file in params benchmark methods grids claims ledger data; do mtcp show schema $$file > workflow/schemas/$$file.schema.json; done

benchmark: setup ## measure ratios to plain forms, on a quiet machine, and write them into docs/performance.md
	PYTHONPATH=$(CURDIR) python tests/benchmarks/judge.py

clean: ## remove what the pipeline makes here (never data or results)
	rm -rf .snakemake .pytest_cache .ruff_cache .hypothesis
