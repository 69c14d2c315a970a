PYTHON ?= .venv/bin/python

.PHONY: check check-all test site demo bench

check:  ## everything that must pass before a commit
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy
	$(PYTHON) -m pytest -q -n 2

check-all: check  ## and the slow tests, some of which start several processes; needs the extras hpo and interop
	$(PYTHON) -m pytest -q -m hpo
	$(PYTHON) -m pytest -q -m cluster
	$(PYTHON) -m pytest -q -m slow

test:
	$(PYTHON) -m pytest -q -n 2

site:  ## build the documentation site, and serve it; needs the extra docs
	$(PYTHON) -m mkdocs serve --strict

demo:
	$(dir $(PYTHON))nwave train --out runs/digits

bench:
	$(PYTHON) -m benchmarks.run
