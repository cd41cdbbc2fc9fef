# Two commands do all set-up on a fresh machine:
#   make run                     a sample export becomes results one can open
#   make run EXPORT=dir OUT=dir  the same for a real export
#   make test                    lint, types, import contracts and all tests
# The rest are verbs for people who work on Nightshift; `make help` lists them.

PY := .venv/bin/python
EXPORT ?= build/sample-export
OUT ?= out/sample
JOBS ?= 2
STUDIES ?= 6
FUZZ_SECONDS ?= 600
DATA ?= ../shared/data/dicom
WORK := --work build/bench

.PHONY: help run test lint types contracts tests bench bench-dicom bench-operators bench-quality fuzz verdicts zoo kinds models clean

help: ## list the verbs
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

.venv/installed: pyproject.toml constraints.txt
	@.ci/install

build/sample-export: pipeline/sample.py $(wildcard pipeline/phantoms/*.py) | .venv/installed
	@$(PY) -m pipeline.sample $@

# Exit code 4 of `nightshift run` means: finished, but some studies were rejected. The sample holds
# such studies on purpose, so it is no failure here.
run: .venv/installed $(if $(filter build/sample-export,$(EXPORT)),build/sample-export) ## analyse EXPORT into OUT
	@.venv/bin/nightshift run "$(EXPORT)" --out "$(OUT)" || [ $$? -eq 4 ]

test: lint types contracts tests ## everything CI checks

lint: .venv/installed ## ruff
	@.venv/bin/ruff check --quiet . && .venv/bin/ruff format --quiet --check .

types: .venv/installed ## mypy, strict
	@.venv/bin/mypy --no-error-summary

contracts: .venv/installed ## who may import whom
	@mkdir -p build
	@.venv/bin/lint-imports --no-logo >build/contracts.log 2>&1 || { cat build/contracts.log; exit 1; }

tests: .venv/installed ## all tests, in parallel
	@.ci/services
	@.venv/bin/pytest -n $(JOBS) --dist worksteal

# Every benchmark runs, also after one that missed its must.
bench: .venv/installed ## speed and memory against a plain MONAI script, overhead per job, the same bits again; fails where a must is missed
	@status=0; for one in "naive_ratio $(WORK)" batching "memory $(WORK)" "service_ratio $(WORK) --studies $(STUDIES)" "overhead $(WORK)" "api_start $(WORK)" mixed_precision same_bits; do $(PY) -m bench.$$one || status=1; done; exit $$status

bench-dicom: .venv/installed ## speed of scanning, reading and writing DICOM; fails where a must is missed
	@status=0; for one in "header_index $(WORK)" series_read seg_speed sr_speed; do $(PY) -m bench.$$one || status=1; done; exit $$status

bench-operators: .venv/installed ## suppression of boxes and RoIAlign against plain loops; fails where a must is missed
	@$(PY) -m bench.detection_operators

bench-quality: DATA = ../shared/data
bench-quality: .venv/installed ## train on the public data in DATA and write docs/quality.md; fails where a figure is missed
	@$(PY) -m bench.quality --data "$(DATA)" --fresh --page docs/quality.md

fuzz: .venv/installed ## hurl broken files at the header reader and its gate for FUZZ_SECONDS
	@$(PY) -m fuzz --seconds $(FUZZ_SECONDS)

verdicts: .venv/installed ## write docs/verdicts.md from the example data in DATA
	@$(PY) -m bench.verdicts $(DATA) >build/verdicts.md && mv build/verdicts.md docs/verdicts.md

zoo: .venv/installed ## write docs/zoo.md: what a checkout of MONAI's Model Zoo in ZOO comes to
	@$(PY) -m bench.zoo "$(ZOO)" >build/zoo.md; status=$$?; [ $$status -gt 1 ] || mv build/zoo.md docs/zoo.md; exit $$status

kinds: DATA = ../shared/data
kinds: .venv/installed ## write the pictures of docs/kinds.md from the public data in DATA
	@$(PY) -m bench.kinds --data "$(DATA)"

models: .venv/installed ## train the shipped demonstrations again, on phantoms
	@$(PY) -m models.make

clean: ## remove what the verbs made, but not .venv
	rm -rf build out .mypy_cache .ruff_cache .pytest_cache
