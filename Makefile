# `make demo` and `make test` set up everything themselves, in .venv, on a fresh machine with Python 3.11 or newer.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready-all
DEMO_READY := $(VENV)/.ready-demo
EXTRAS := edge code devices track vision monai flower table text fair dicom speech pocketsphinx diffusion sign dev
CUDA   := torch torchvision triton cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cublas nvidia-cuda-cupti \
	nvidia-cuda-nvrtc nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-cufft nvidia-cufile nvidia-curand nvidia-cusolver \
	nvidia-cusparse nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvjitlink nvidia-nvshmem-cu13 nvidia-nvtx
export OMP_WAIT_POLICY := PASSIVE

.PHONY: demo hospital test test-long lock lint audit bench docs clean

demo: $(DEMO_READY)
	rm -rf demo-run
	$(BIN)/sansdata demo

# Four houses with nothing but files between them: docs/hospital.md.
hospital: $(READY)
	rm -rf hospital-run
	for house in vendor hospital device auditor; do $(BIN)/python examples/hospital/$$house.py hospital-run || exit 1; done

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python -m pytest -n 2 -m "not long"

# Flower's simulation needs ray, which no other test does.
test-long: $(READY)
	$(BIN)/pip install -q -c constraints.txt -e ".[flower-sim]"
	$(BIN)/python -m pytest -n 2 -m long --timeout 3600

lint: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(MAKE) audit

# Writes anew with which releases, by their hashes, the tests run; torch and what only its CUDA builds need stay out.
lock: $(READY)
	$(BIN)/pip install -q "uv>=0.8"
	$(BIN)/uv pip compile pyproject.toml $(EXTRAS:%=--extra %) --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate -c constraints.txt $(CUDA:%=--no-emit-package %) -q -o tests/requirements.txt

# Known holes in what is installed, by the registry's own list. A mirror may not carry it: that is said, and is no failure.
audit: $(READY)
	@$(BIN)/pip install -q "pip-audit>=2.7,<3"
	@$(BIN)/pip-audit --skip-editable --progress-spinner off > $(VENV)/audit.txt 2>&1; \
		if grep -qi "found .* known vulnerabilit" $(VENV)/audit.txt; then cat $(VENV)/audit.txt; exit 1; fi; \
		echo "audit: no known hole; $$(grep -c 'could not be audited' $(VENV)/audit.txt) packages are not on the list that answers here"

bench: $(READY)
	$(BIN)/python benchmarks/speed.py

docs: $(READY)
	$(BIN)/pip install -q -c constraints.txt "mkdocs==1.6.1" "mkdocs-material>=9.5,<10"
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) demo-run hospital-run site

$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV)

$(DEMO_READY): pyproject.toml constraints.txt | $(VENV)/bin/pip
	$(BIN)/pip install -q -c constraints.txt -e ".[edge]"
	touch $@

# torch comes from whatever index this machine has, built for a CPU or for CUDA: one hash cannot name both.
$(READY): pyproject.toml constraints.txt tests/requirements.txt | $(VENV)/bin/pip
	$(BIN)/pip install -q -c constraints.txt torch torchvision
	$(BIN)/pip install -q --no-deps --require-hashes -r tests/requirements.txt
	$(BIN)/pip install -q --no-deps -e .
	touch $@ $(DEMO_READY)
