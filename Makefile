PYTHON ?= .venv/bin/python

.PHONY: check test demo bench

check:  ## everything that must pass before a commit
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy
	$(PYTHON) -m pytest -q -n 2

test:
	$(PYTHON) -m pytest -q -n 2

demo:
	$(dir $(PYTHON))nwave train --out runs/digits

bench:
	$(PYTHON) -m benchmarks.run
