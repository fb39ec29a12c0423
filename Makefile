# `make demo` and `make test` do all of their own set-up, in .venv.
PYTHON ?= python3
BIN := .venv/bin
# cpu or gpu: which FAISS; of an environment that is there, its own.
INSTALLED := .venv/.installed-
EXTRA ?= $(or $(patsubst $(INSTALLED)%,%,$(firstword $(wildcard $(INSTALLED)*))),cpu)

.PHONY: install demo test test-slow slurm-test reliability gpu-check check audit format docs bench demo-data glyphs words emoji report-pictures clean

install: $(INSTALLED)$(EXTRA)

# Debian keeps venv in a package of its own; root may fetch it, others are told. FAISS for CPU and for GPU own the same files,
# so both go before the other one comes.
$(INSTALLED)%: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "Python 3.10 or later is needed: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq python3-venv; } || { echo "Python's venv module is missing: apt-get install python3-venv"; exit 2; }
	$(PYTHON) -m venv .venv
	@rm -f .venv/.installed*
	@if $(BIN)/pip show -qq $(if $(findstring gpu,$*),faiss-cpu,faiss-gpu); then $(BIN)/pip uninstall -qq -y faiss-cpu faiss-gpu; fi
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$*,dev]'
	@touch $@

demo: install
	@$(BIN)/subspace demo

# Modules are compiled once, whatever the environment says: the tests start hundreds of processes.
test: export PYTHONDONTWRITEBYTECODE :=
test: install
	$(BIN)/python -m pytest -q -n 4 --dist loadfile

test-slow: install
	$(BIN)/python -m pytest -q -m slow

# Needs root: a Slurm of its own, in a temporary folder.
slurm-test: install
	@[ "$$(id -u)" = 0 ] || { echo "make slurm-test needs root, since it starts a Slurm of its own"; exit 2; }
	@tests/slurm/install_slurm.sh
	$(BIN)/python -m pytest -q -m "slurm and not slow" tests/slurm

# Linux with a C compiler, an hour or two on two cores; root for /dev/shm; ARGS="--only NAME" for a part.
reliability: install
	$(BIN)/python benchmarks/reliability/campaign.py --store $(ARGS)
	$(BIN)/python benchmarks/quality/make_pages.py

# On a machine with a GPU, five minutes; ARGS=--store keeps the table.
gpu-check: $(INSTALLED)gpu
	$(BIN)/python benchmarks/gpu_check.py $(ARGS)

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/python tests/house.py
	$(BIN)/python -m pytest -q tests/test_architecture.py tests/test_public_names.py tests/test_docs.py

# Known vulnerabilities of the pinned versions; asks PyPI.
audit:
	@[ -x .audit/bin/pip-audit ] || { $(PYTHON) -m venv .audit && .audit/bin/pip install --quiet pip-audit; }
	@.audit/bin/pip-audit --strict --no-deps --disable-pip -r constraints.txt || { echo "make audit: not passed: a version is vulnerable, or PyPI's list could not be asked (line above)"; exit 1; }

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Pages and tables that are made from the code and from stored results; tests say when they are old.
docs: install
	$(BIN)/python docs/make_settings_page.py
	$(BIN)/python docs/make_code_map.py
	$(BIN)/python benchmarks/quality/make_pages.py

bench: install
	@for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

emoji: install
	$(BIN)/python data_manifests/emoji/make_emoji.py --out data/emoji

demo-data: install
	$(BIN)/python data_manifests/make_demo.py

# README's pictures of a report, of the demo; needs Chromium.
report-pictures: install
	$(BIN)/subspace report runs/demo-subspace --baseline runs/demo-random --out runs/report.html
	$(BIN)/python docs/draw_report.py runs/report.html docs

# 400 MB of Debian's fonts -> 1.7 million images of 165,000 characters; SIZE=tiny, core, wide or all.
SIZE ?= wide
glyphs: install
	$(BIN)/python data_manifests/glyphs/make_glyphs.py $(SIZE) --out data/glyphs/$(SIZE)

# 120 MB of Debian's word lists and fonts -> 548,000 images of 212,000 words; SIZE=tiny, 100k, 1m or 10m.
words: SIZE = 100k
words: install
	$(BIN)/python data_manifests/words/make_words.py $(SIZE) --out data/words/$(SIZE)

# Of runs/, which holds users' own, the demo's alone.
clean:
	rm -rf .venv .audit runs/demo-start runs/demo-random runs/demo-subspace build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
