# Every target makes its own .venv on first use (see .ci/venv.py); `make` alone lists the targets.

PYTHON ?= python3
DOMAIN ?= human
LOSS ?=
ARGS ?=
JOBS ?= 2
RUN := .venv/bin/python

# Nothing here may use a GPU or the network by accident: tests are the same on every machine.
OFFLINE := CUDA_VISIBLE_DEVICES= HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 HF_DATASETS_OFFLINE=1 \
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} TOKENIZERS_PARALLELISM=false

# Many containers set this; each start would then compile thousands of files anew, 15 s instead of 7.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help venv faces train evaluate ablate app test check tensorboard clean

help: ## list the targets
	@echo 'make <target> [DOMAIN=human|anime] [ARGS="key=value ..."]'
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: ## make .venv ready (done by every target that needs it)
	@command -v $(PYTHON) >/dev/null || { echo 'error: no $(PYTHON) on the PATH: install' \
		'Python 3.11 or newer, or name one as in `make venv PYTHON=python3.12`.' >&2; exit 1; }
	@$(PYTHON) .ci/venv.py

faces: venv ## write a set of synthetic faces to data/DOMAIN
	@$(RUN) -m pixelsmile.faces domain=$(DOMAIN) $(ARGS)

train: venv ## train, validate and report, for example DOMAIN=anime ARGS="loss=log_ratio"
	@$(RUN) -m pixelsmile.train domain=$(DOMAIN) $(ARGS)

evaluate: venv ## run FFE-Bench, for example DOMAIN=anime ARGS="editor=base"
	@$(RUN) -m pixelsmile.evaluate domain=$(DOMAIN) $(ARGS)

ablate: venv ## rows of Table 3 over three seeds: all, or one as in LOSS=hinge
	@$(RUN) -m pixelsmile.ablate domain=$(DOMAIN) $(if $(LOSS),loss=$(LOSS)) $(ARGS)

app: venv ## edit faces in the browser, for example ARGS="lora.human=runs/latest/lora"
	@$(RUN) -m pixelsmile.app $(ARGS)

test: venv ## run every test, offline, in JOBS processes, for example ARGS="-m 'not slow'"
	@$(OFFLINE) $(RUN) -m pytest -n $(JOBS) --dist loadfile $(ARGS)

check: venv ## lint, format, types and the import order
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m pyright --pythonpath $(RUN)
	@.venv/bin/lint-imports

tensorboard: venv ## show the curves and pictures of all runs
	@$(RUN) -m tensorboard.main --logdir runs $(ARGS)

clean: ## remove caches and the environment; runs and data stay
	rm -rf .venv .venv.* .pytest_cache .ruff_cache .import_linter_cache build *.egg-info
	find pixelsmile tests -name __pycache__ -type d -prune -exec rm -rf {} +
