# Everything runs in .venv; each target creates it and installs what is missing.

PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

.PHONY: ask demo test evaluate lint

ask: .venv/.voice  ## the main job: nano, which ships here, answers written and spoken questions about pictures and a clip
	$(BIN)/multimodal ask "How many things are there?" --image examples/scene.png
	$(BIN)/multimodal ask "How many circles are there?" --image examples/scene.png
	$(BIN)/multimodal ask "What color is the star?" --image examples/scene.png
	$(BIN)/multimodal ask "Is there a blue square?" --image examples/scene.png
	$(BIN)/multimodal ask "What does it say?" --image examples/sign.jpg
	$(BIN)/multimodal ask "What happens first?" --video examples/clip.mp4
	$(BIN)/multimodal ask --audio examples/question.wav --image examples/scene.png
	$(BIN)/multimodal ask "What is the shape of the green thing?" --image examples/scene.png --speak answer.wav

demo: .venv/.demo  ## the page: see, speak and listen in a browser
	$(BIN)/multimodal demo

test: .venv/.all  ## the default tests: offline, on the CPU
	$(BIN)/python -m pytest

evaluate: .venv/.all  ## nano measured in 34 languages, offline, by two processes; the report is in runs/evaluation
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/torchrun --standalone --nproc-per-node 2 -m multimodal evaluate all --max-new-tokens 64

lint: .venv/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# A stamp is touched when its installation is complete, and is out of date when what it installs changes.
.venv/.default: pyproject.toml constraints.txt | .venv/bin/pip
	$(INSTALL) -e .
	@touch $@

.venv/.voice: pyproject.toml constraints.txt | .venv/bin/pip
	$(INSTALL) -e '.[voice,espeak]'
	@touch .venv/.default $@

.venv/.demo: pyproject.toml constraints.txt | .venv/bin/pip
	$(INSTALL) -e '.[demo,voice,espeak]'
	@touch .venv/.default .venv/.voice $@

.venv/.all: pyproject.toml constraints.txt | .venv/bin/pip
	$(INSTALL) -e '.[train,eval,demo,voice,espeak,dev]'
	@touch .venv/.default .venv/.voice .venv/.demo .venv/.lint $@

.venv/.lint: pyproject.toml constraints.txt | .venv/bin/pip
	$(INSTALL) ruff
	@touch $@

.venv/bin/pip:
	$(PYTHON) -m venv .venv
