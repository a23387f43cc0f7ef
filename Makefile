# Every way in. `make` alone says what there is.
#
# A target is a program: `make table2 X=1` runs tools/table2.py (or the program of its family) with
# the flag --x 1. tools/variables.toml is the table of variables; a new one needs a line there, and a
# flag of the same name. tools/needs.toml says what a target can't do without.

.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules
export PYTHONDONTWRITEBYTECODE = 1
# Our own Python ignores PYTHONPATH, which may name other packages (ROS sets it). The Python of
# CAFFE_PYTHON may need it to find caffe: lib/caffe/client.py hands it on.
ifneq ($(value PYTHONPATH),)
export CAFFE_PYTHONPATH := $(value PYTHONPATH)
endif
unexport PYTHONPATH
# A user without a home (nobody, say) keeps caches here.
ifeq ($(shell test -w "$$HOME" && echo yes),)
export MPLCONFIGDIR := $(CURDIR)/.cache/matplotlib
export PIP_CACHE_DIR := $(CURDIR)/.cache/pip
endif

# ---- What the user typed after `make` ------------------------------------------------------------

# Nothing of it is read by make or a shell: each value is made literal, and handed on in the
# environment as MAKE_LINE_<NAME>, where tools/make_line.py takes it. Variables of the environment
# count only where they are named here. (`override`: these names are the Makefile's own.)
override from_environment := PYTHON CAFFE_PYTHON CAFFE_DEBS CAFFE_BLAS CAFFE_LAYERS DEBIAN_MIRROR CUDA_HOME
override given := $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
$(foreach name,$(filter MAKE_LINE%,$(.VARIABLES)),$(eval unexport $(name)))
$(foreach name,$(given),$(eval override $(name) := $$(value $(name))))
$(foreach name,$(given),$(eval export MAKE_LINE_$(name) := $$(value $(name))))
$(foreach name,$(filter $(from_environment) READ_AS,$(given)),$(eval export $(name)))
$(if $(filter READ_AS,$(given)),,$(eval unexport READ_AS))
export MAKE_LINE := $(given)
export MAKE_GOALS := $(MAKECMDGOALS)
MAKEOVERRIDES :=

PYTHON ?= python3
export PYTHON

# Programs that need no packages, and those of .venv: with the variables as flags, or without.
override any_py  := @"$$PYTHON" -m
override py      := .venv/bin/python -m
override program := @$(py) tools.make_line run

override targets := $(sort $(shell sed -n 's/^\([a-z0-9][a-z0-9 -]*\):[^\#=]*\#\#.*/\1/p' Makefile))
# However tasks.toml was saved: UTF-16's zeros and byte order marks are dropped, a CR ends a line.
override tasks   := $(shell tr -d '\000\357\273\277\376\377' < datasets/tasks.toml | tr '\r' '\n' | \
           sed -n 's/^\[\([A-Za-z0-9_]*\)\].*/\1/p')

# Misspelt, empty and missing variables are said before anything is installed or made.
checked:
	$(any_py) tools.make_line check

$(filter-out help,$(targets)) $(tasks) .venv/.ready: | checked

.DEFAULT:
	$(any_py) tools.make_line target '$(subst ','\'',$@)' $(targets) $(tasks)

# ---- Ground: the Python packages, Caffe, the sample ----------------------------------------------

# Exactly the locked versions, each with its hash; wheels only, so that nothing is built.
override pip_install := .venv/bin/python -m pip install --quiet --disable-pip-version-check \
           --require-hashes --only-binary :all: --requirement
override pip_failed  = echo "error: pip could not install the packages of $(1) (its words are above)"; exit 2

help: checked  ## this page
	$(any_py) tools.help Makefile

.venv/.ready: requirements/base.lock
	$(any_py) tools.check_python
	@echo "installing the Python packages into .venv"
	@"$$PYTHON" -m venv .venv
	@$(pip_install) $< || { $(call pip_failed,$<); }
	@touch $@

# The extras of pyproject.toml: .venv/.with-dev, .venv/.with-search, ...
.venv/.with-%: requirements/%.lock .venv/.ready
	@echo "installing the Python packages for '$*' into .venv"
	@$(pip_install) $< || { $(call pip_failed,$<); }
	@touch $@

venv: .venv/.ready  ## the Python packages, into .venv

# FORCE= and their like are for the target that was typed, not for what it needs.
override self = $(if $(filter $@,$(MAKECMDGOALS)),$(program) $(subst -,_,$@),@$(py) tools.$(subst -,_,$@))

# What a run lacks is said before Caffe is installed for it.
override of_a_run := prototxt train evaluate $(tasks)
override goal     := $(firstword $(filter $(of_a_run),$(MAKECMDGOALS)))
caffe: .venv/.ready $(if $(goal),nothing-missing)  ## BVLC Caffe, into .caffe; CAFFE_DEBS=folder of packages, DEBIAN_MIRROR=address, CAFFE_BLAS=debian
	$(self)

nothing-missing: .venv/.ready
	$(program) evaluate --check $(if $(filter $(tasks),$(goal)),--task $(goal))

caffe-gpu: .venv/.ready  ## the same Caffe built for GPUs, into .caffe-gpu; CUDA_ARCH=, CUDNN=0, CUDA_HOME=, JOBS=
	$(self)

caffe-gpu-test: .venv/.ready  ## Caffe's own tests on the card
	$(program) caffe_gpu_test

# What parquet files need, where some lie in RAW, and where some are to be got.
override with_material := lists lmdb prototxt train evaluate table1 fig2 fig3 images $(tasks)
ifneq ($(filter $(with_material),$(MAKECMDGOALS)),)
override raw := $(if $(filter RAW,$(given)),$(RAW),datasets/raw)
override any_parquet := $(filter FROM,$(given))$(shell find -L '$(subst ','\'',$(raw))' -maxdepth 5 \
  -name images -prune -o -name '*.parquet' -print -quit 2> /dev/null)
override of_wikiart := $(filter wikiart%,$(if $(filter SOURCE,$(given)),$(SOURCE)) $(if $(filter TASK,$(given)),$(TASK)))
override empty_wikiart := $(and $(filter images,$(MAKECMDGOALS)),$(of_wikiart),$(if $(wildcard $(raw)/wikiart/*),,yes))
override parquet := $(if $(any_parquet)$(empty_wikiart),.venv/.with-parquet)
endif

# The engine that runs need: the user's own, or the one that `make caffe` installs.
override engine := $(if $(CAFFE_PYTHON),,caffe)

parity: .venv/.ready $(engine)  ## CaffeNet on CPU and GPU, number by number; OTHER=a Python that can import caffe
	$(program) parity

sample: .venv/.ready  ## 174 paintings of the Metropolitan Museum, into datasets/raw/met
	$(self)

doctor: .venv/.ready  ## what this machine has, what is missing, and how to get it
	$(program) doctor

weights: .venv/.ready $(engine)  ## the weights of INIT, or all; FILE=, MEAN= put a file of yours in place
	$(program) weights

inspect: .venv/.ready $(engine)  ## WEIGHTS=file layer by layer, beside CaffeNet
	$(program) inspect

# ---- The main job: make TASK, or one step of it: make STEP TASK=... ------------------------------

$(tasks): .venv/.ready $(parquet) $(engine)
	$(program) evaluate --task $@

demo: sample $(engine)  ## the main job on the sample, from real pretrained weights, and its test
	$(program) evaluate --task met_genre --init open_nsfw --epochs 8 --lr 0.001 --batch 16

lists: .venv/.ready $(parquet)  ## step 1: a task's images, split 70/10/20
	$(program) lists

lmdb: .venv/.ready $(parquet)  ## step 2: its LMDBs and mean
	$(program) lmdb

prototxt: .venv/.ready $(parquet) $(engine)  ## step 3: the run's prototxts, free to edit by hand
	$(program) prototxt

train: .venv/.ready $(parquet) $(engine)  ## step 4: train, or go on training
	$(program) train

evaluate: .venv/.ready $(parquet) $(engine)  ## step 5: test, each test image once
	$(program) evaluate

verify-lmdb: .venv/.ready  ## read TASK's LMDBs again: keys, labels, sizes, mean; some images too
	$(program) verify_lmdb --decode 20

images: .venv/.ready $(parquet)  ## get the images of SOURCE (wga or wikiart), or of TASK; FROM=owner/dataset of Hugging Face
	$(program) images

# ---- The paper's tables and figures --------------------------------------------------------------

table1: .venv/.ready $(parquet)  ## classes and images of each task, counted from the catalogues, beside the paper's
	$(program) table $@

table2 table3 table4: .venv/.ready  ## printed, ours, difference, from the runs there are
	$(program) table $@

table: .venv/.ready  ## the table of GRID, a grid of your own
	$(program) table $@

override figures := fig1 fig2 fig3 fig4 fig5 fig6 fig7 fig8 fig9 fig10 fig11 fig12 fig13 fig14
fig1 fig4:  ## example paintings: one of each WikiArt genre; a few of each source; SEED=
fig2 fig3:  ## class distributions
fig5 fig6 fig7 fig8 fig9:  ## curves, accuracy and time, from the runs there are
fig10 fig11 fig12 fig13 fig14:  ## confusion matrices and confused pairs; TASK=, RUN= draw them of yours
$(figures): .venv/.ready $(parquet)
	$(program) fig $@

report: .venv/.ready  ## experiments/report/index.html: whatever exists so far
	$(program) report

# ---- Many runs -----------------------------------------------------------------------------------

grid: .venv/.ready $(engine) $(if $(filter SCHEDULER,$(given)),.venv/.with-grid)  ## all runs of GRID (a TOML file, or table2 ...); SCHEDULER=tcp://...
	$(program) grid

status: .venv/.ready  ## which runs are done, running, failed, missing; their cost
	$(program) status

paper: .venv/.ready $(engine)  ## everything: all runs of the paper, its tables and figures, the report
	$(program) paper

# ---- Against somebody else's Caffe, and between runs ----------------------------------------------

compare: .venv/.ready $(engine)  ## LOG=their.log RUN=task/run: curves; WEIGHTS=a WITH=b: layer by layer
	$(program) compare

significance: .venv/.ready  ## are the inits (or RUNS) different on TASK? McNemar, bootstrap
	$(program) significance

predict: .venv/.ready $(engine)  ## score a foreign WEIGHTS=file on TASK's test images; MEAN=, NET=
	$(program) predict

# ---- Similarity: a collection is a TASK's images, or a folder of IMAGES; MODELS are runs or inits --

features: .venv/.with-search $(engine)  ## fc7 (BLOB=) of WEIGHTS on TASK or IMAGES=folder
	$(program) features

similar: .venv/.with-search $(engine)  ## the K images most similar to QUERY, once for each of MODELS
	$(program) similar

retrieval-scores: .venv/.with-search $(engine)  ## precision@k and mAP of MODELS on TASK's test images
	$(program) retrieval_scores

fig15 fig16: .venv/.with-search $(engine)  ## neighbours by genre and style; distances between MODELS
	$(program) $@

explain: .venv/.with-search $(engine)  ## why did RUN (task/run) say that of IMAGE? Grad-CAM, saliency
	$(program) explain

serve: .venv/.with-search $(engine)  ## the search page of MODELS on TASK, on this machine alone
	$(program) serve

# ---- For developers ------------------------------------------------------------------------------

lock: .venv/.ready  ## requirements/*.lock anew, after a change in pyproject.toml; FORCE=1: newest versions
	$(program) lock

lint: .venv/.with-dev  ## ruff and mypy
	@.venv/bin/ruff format --check . && .venv/bin/ruff check . && .venv/bin/mypy .

test: .venv/.with-dev $(engine) sample  ## the tests, on real Caffe; TESTS=tests/test_x.py for some
	$(program) test

test-slow: .venv/.with-dev $(engine) sample  ## the tests that take long: whole nets, many kills, whole installations
	$(program) test --slow

bench: .venv/.with-search $(engine) sample  ## figures of speed, with the machine's cores; BENCHES="lmdb grid" for some
	$(program) tools.bench.every

.PHONY: $(targets) $(tasks) checked nothing-missing
.DEFAULT_GOAL := help
