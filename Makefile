# Every way in. `make` alone says what there is.
#
# A target is a program: `make table2 X=1` runs tools/table2.py (or the program of its family) with
# the flag --x 1. tools/variables.toml is the table of variables; a new one needs a line there, and a
# flag of the same name. tools/needs.toml says what a target can't do without.

.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules
export PYTHONDONTWRITEBYTECODE = 1
# A user without a home (nobody, say) keeps caches here.
ifeq ($(shell test -w "$$HOME" && echo yes),)
export MPLCONFIGDIR := $(CURDIR)/.cache/matplotlib
export PIP_CACHE_DIR := $(CURDIR)/.cache/pip
endif

# ---- What the user typed after `make` ------------------------------------------------------------

# Nothing of it is read by make or a shell: each value is made literal, and handed on in the
# environment as MAKE_LINE_<NAME>, where tools/make_line.py takes it. Variables of the environment
# count only where they are named here.
FROM_ENVIRONMENT := PYTHON CAFFE_PYTHON CAFFE_DEBS CAFFE_BLAS DEBIAN_MIRROR CUDA_HOME
GIVEN := $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
$(foreach name,$(filter MAKE_LINE%,$(.VARIABLES)),$(eval unexport $(name)))
$(foreach name,$(GIVEN),$(eval override $(name) := $$(value $(name))))
$(foreach name,$(GIVEN),$(eval export MAKE_LINE_$(name) := $$(value $(name))))
$(foreach name,$(filter $(FROM_ENVIRONMENT),$(GIVEN)),$(eval export $(name)))
export MAKE_LINE := $(GIVEN)
export MAKE_GOALS := $(MAKECMDGOALS)
MAKEOVERRIDES :=

PYTHON ?= python3
export PYTHON

# Programs that need no packages, and those of .venv: with the variables as flags, or without.
ANY_PY := @"$$PYTHON" -m
PY     := .venv/bin/python -m
RUN    := @$(PY) tools.make_line run

TARGETS := $(sort $(shell sed -n 's/^\([a-z0-9][a-z0-9 -]*\):[^\#=]*\#\#.*/\1/p' Makefile))
# However tasks.toml was saved: UTF-16's zeros and byte order marks are dropped, a CR ends a line.
TASKS   := $(shell tr -d '\000\357\273\277\376\377' < datasets/tasks.toml | tr '\r' '\n' | \
           sed -n 's/^\[\([A-Za-z0-9_]*\)\].*/\1/p')

# Misspelt, empty and missing variables are said before anything is installed or made.
checked:
	$(ANY_PY) tools.make_line check

$(filter-out help,$(TARGETS)) $(TASKS) .venv/.ready: | checked

.DEFAULT:
	$(ANY_PY) tools.make_line target '$(subst ','\'',$@)' $(TARGETS) $(TASKS)

# ---- Ground: the Python packages, Caffe, the sample ----------------------------------------------

PIP_INSTALL := .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable
PIP_FAILED  := echo "error: pip could not install the packages of pyproject.toml (its words are above)"; exit 2

help: checked  ## this page
	$(ANY_PY) tools.help Makefile

.venv/.ready: pyproject.toml
	$(ANY_PY) tools.check_python
	@echo "installing the Python packages into .venv"
	@"$$PYTHON" -m venv .venv
	@$(PIP_INSTALL) . || { $(PIP_FAILED); }
	@touch $@

# The extras of pyproject.toml: .venv/.with-dev, .venv/.with-search, ...
.venv/.with-%: .venv/.ready
	@echo "installing the Python packages for '$*' into .venv"
	@$(PIP_INSTALL) '.[$*]' || { $(PIP_FAILED); }
	@touch $@

venv: .venv/.ready  ## the Python packages, into .venv

# FORCE= and their like are for the target that was typed, not for what it needs.
SELF = $(if $(filter $@,$(MAKECMDGOALS)),$(RUN) $(subst -,_,$@),@$(PY) tools.$(subst -,_,$@))

# What a run lacks is said before Caffe is installed for it.
OF_A_RUN := prototxt train evaluate $(TASKS)
GOAL     := $(firstword $(filter $(OF_A_RUN),$(MAKECMDGOALS)))
caffe: .venv/.ready $(if $(GOAL),nothing-missing)  ## BVLC Caffe, into .caffe; CAFFE_DEBS=folder of packages, DEBIAN_MIRROR=address, CAFFE_BLAS=debian
	$(SELF)

nothing-missing: .venv/.ready
	$(RUN) evaluate --check $(if $(filter $(TASKS),$(GOAL)),--task $(GOAL))

caffe-gpu: .venv/.ready  ## the same Caffe built for GPUs, into .caffe-gpu; CUDA_ARCH=, CUDNN=0, CUDA_HOME=, JOBS=
	$(SELF)

caffe-gpu-test: .venv/.ready  ## Caffe's own tests on the card
	$(RUN) caffe_gpu_test

# The engine that runs need: the user's own, or the one that `make caffe` installs.
ENGINE := $(if $(CAFFE_PYTHON),,caffe)

parity: .venv/.ready $(ENGINE)  ## CaffeNet on CPU and GPU, number by number; OTHER=a Python that can import caffe
	$(RUN) parity

sample: .venv/.ready  ## 174 paintings of the Metropolitan Museum, into datasets/raw/met
	$(SELF)

doctor: .venv/.ready  ## what this machine has, what is missing, and how to get it
	$(RUN) doctor

weights: .venv/.ready $(ENGINE)  ## the weights of INIT, or all; FILE=, MEAN= put a file of yours in place
	$(RUN) weights

inspect: .venv/.ready $(ENGINE)  ## WEIGHTS=file layer by layer, beside CaffeNet
	$(RUN) inspect

# ---- The main job: make TASK, or one step of it: make STEP TASK=... ------------------------------

$(TASKS): .venv/.ready $(ENGINE)
	$(RUN) evaluate --task $@

demo: sample $(ENGINE)  ## the main job on the sample: a short training from scratch, and its test
	$(RUN) evaluate --task met_nationality --init scratch --epochs 20 --lr 0.002 --batch 16

lists: .venv/.ready  ## step 1: a task's images, split 70/10/20
	$(RUN) lists

lmdb: .venv/.ready  ## step 2: its LMDBs and mean
	$(RUN) lmdb

prototxt: .venv/.ready $(ENGINE)  ## step 3: the run's prototxts, free to edit by hand
	$(RUN) prototxt

train: .venv/.ready $(ENGINE)  ## step 4: train, or go on training
	$(RUN) train

evaluate: .venv/.ready $(ENGINE)  ## step 5: test, each test image once
	$(RUN) evaluate

verify-lmdb: .venv/.ready  ## read TASK's LMDBs again: keys, labels, sizes, mean; some images too
	$(RUN) verify_lmdb --decode 20

images: .venv/.ready  ## download the images of SOURCE (wga or wikiart), or of TASK, politely
	$(RUN) images

# ---- The paper's tables and figures --------------------------------------------------------------

table1: .venv/.ready  ## classes and images of each task, counted from the catalogues, beside the paper's
	$(RUN) table $@

table2 table3 table4: .venv/.ready  ## printed, ours, difference, from the runs there are
	$(RUN) table $@

table: .venv/.ready  ## the table of GRID, a grid of your own
	$(RUN) table $@

FIGURES := fig1 fig2 fig3 fig4 fig5 fig6 fig7 fig8 fig9 fig10 fig11 fig12 fig13 fig14
fig1 fig4:  ## example paintings: one of each WikiArt genre; a few of each source; SEED=
fig2 fig3:  ## class distributions
fig5 fig6 fig7 fig8 fig9:  ## curves, accuracy and time, from the runs there are
fig10 fig11 fig12 fig13 fig14:  ## confusion matrices and confused pairs; TASK=, RUN= draw them of yours
$(FIGURES): .venv/.ready
	$(RUN) fig $@

report: .venv/.ready  ## experiments/report/index.html: whatever exists so far
	$(RUN) report

# ---- Many runs -----------------------------------------------------------------------------------

grid: .venv/.ready $(ENGINE) $(if $(filter SCHEDULER,$(GIVEN)),.venv/.with-grid)  ## all runs of GRID (a TOML file, or table2 ...); SCHEDULER=tcp://...
	$(RUN) grid

status: .venv/.ready  ## which runs are done, running, failed, missing; their cost
	$(RUN) status

paper: .venv/.ready $(ENGINE)  ## everything: all runs of the paper, its tables and figures, the report
	$(RUN) paper

# ---- Against somebody else's Caffe, and between runs ----------------------------------------------

compare: .venv/.ready $(ENGINE)  ## LOG=their.log RUN=task/run: curves; WEIGHTS=a WITH=b: layer by layer
	$(RUN) compare

significance: .venv/.ready  ## are the inits (or RUNS) different on TASK? McNemar, bootstrap
	$(RUN) significance

predict: .venv/.ready $(ENGINE)  ## score a foreign WEIGHTS=file on TASK's test images; MEAN=, NET=
	$(RUN) predict

# ---- Similarity: a collection is a TASK's images, or a folder of IMAGES; MODELS are runs or inits --

features: .venv/.with-search $(ENGINE)  ## fc7 (BLOB=) of WEIGHTS on TASK or IMAGES=folder
	$(RUN) features

similar: .venv/.with-search $(ENGINE)  ## the K images most similar to QUERY, once for each of MODELS
	$(RUN) similar

retrieval-scores: .venv/.with-search $(ENGINE)  ## precision@k and mAP of MODELS on TASK's test images
	$(RUN) retrieval_scores

fig15 fig16: .venv/.with-search $(ENGINE)  ## neighbours by genre and style; distances between MODELS
	$(RUN) $@

explain: .venv/.with-search $(ENGINE)  ## why did RUN (task/run) say that of IMAGE? Grad-CAM, saliency
	$(RUN) explain

serve: .venv/.with-search $(ENGINE)  ## the search page of MODELS on TASK, on this machine alone
	$(RUN) serve

# ---- For developers ------------------------------------------------------------------------------

lint: .venv/.with-dev  ## ruff and mypy
	@.venv/bin/ruff format --check . && .venv/bin/ruff check . && .venv/bin/mypy .

test: .venv/.with-dev $(ENGINE) sample  ## the tests, on real Caffe; TESTS=tests/test_x.py for some
	$(RUN) test

bench: .venv/.with-search $(ENGINE) sample  ## figures of speed, with the machine's cores; BENCHES="lmdb grid" for some
	$(RUN) tools.bench.every

.PHONY: $(TARGETS) $(TASKS) checked nothing-missing
.DEFAULT_GOAL := help
