# Every way in. `make` alone says what there is.

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

# ---- What a user may set: make TARGET NAME=value -------------------------------------------------

PYTHON      ?= python3
INIT        ?= hybrid
SCENARIO    ?= all
SPLIT       ?= by_image
SPLIT_SEED  ?= 1
RAW         ?= datasets/raw
GPU         ?= auto
SETTINGS    := EPOCHS LR LR_STEP_EPOCHS LR_GAMMA MOMENTUM WEIGHT_DECAY BATCH DROPOUT NEW_LAYER_LR \
               SEED DEVICE_BATCH
VARIABLES   := $(SETTINGS) INIT SCENARIO SPLIT SPLIT_SEED RAW GPU THREADS RUN FORCE KEEP TASK \
               SKIP_BROKEN WORKERS SOURCE FROM READ_AS WEIGHTS FILE MEAN TESTS GRID SCHEDULER SIDE_BY_SIDE \
               BENCHES CUDA_ARCH CUDNN CUDA_HOME JOBS OTHER LOG WITH RUNS NET IMAGES IMAGE QUERY MODELS K LABEL INDEX BLOB HOST PORT \
               PYTHON CAFFE_PYTHON CAFFE_DEBS CAFFE_BLAS CAFFE_LAYERS DEBIAN_MIRROR
TARGETS     := $(sort $(shell sed -n 's/^\([a-z0-9][a-z0-9 -]*\):[^\#=]*\#\#.*/\1/p' Makefile))
# However tasks.toml was saved: UTF-16's zeros and byte order marks are dropped, a CR ends a line.
TASKS       := $(shell tr -d '\000\357\273\277\376\377' < datasets/tasks.toml | tr '\r' '\n' | \
               sed -n 's/^\[\([A-Za-z0-9_]*\)\].*/\1/p')

# ---- A misspelt variable is an error, not a default ----------------------------------------------

# What experiments.single_run.plan tells the second make (below), besides the user's variables.
PLANNED     := RUN_NAME DATA MEAN_FILE FETCH
GIVEN       := $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name)))
UNKNOWN     := $(filter-out $(VARIABLES) $(PLANNED),$(GIVEN))
ifneq ($(UNKNOWN),)
$(error $(shell $(PYTHON) -m tools.names variable $(firstword $(UNKNOWN)) $(VARIABLES)))
endif

# ---- What a target cannot do without, and values that no target takes: said before any work ------

# Of each target, the variables without which it can do nothing, each with an example.
comma                  := ,
OF_A_COLLECTION        := $(if $(IMAGES),,TASK=wikiart_genre)
NEEDS.inspect          := WEIGHTS=models/hybrid/hybridCNN_iter_700000_upgraded.caffemodel
NEEDS.images           := $(if $(SOURCE),,TASK=wga_genre)
NEEDS.grid             := GRID=table2
NEEDS.table            := GRID=my.toml
NEEDS.compare          := $(if $(LOG)$(RUN),LOG=their.log RUN=wga_genre/hybrid-all,WEIGHTS=a.caffemodel \
                          WITH=b.caffemodel)
NEEDS.significance     := TASK=wga_genre
NEEDS.predict          := WEIGHTS=a.caffemodel TASK=wga_genre
NEEDS.features         := WEIGHTS=wga_genre/hybrid-all $(OF_A_COLLECTION)
NEEDS.similar          := QUERY=a.jpg MODELS=wga_genre/hybrid-all $(OF_A_COLLECTION)
NEEDS.retrieval-scores := MODELS=wga_genre/hybrid-all TASK=wikiart_genre
NEEDS.fig15            := MODELS=wga_genre/hybrid-all $(OF_A_COLLECTION)
NEEDS.fig16            := MODELS=wga_genre/hybrid-all $(OF_A_COLLECTION)
NEEDS.explain          := IMAGE=a.jpg RUN=wga_genre/hybrid-all
NEEDS.serve            := MODELS=wga_genre/hybrid-all $(OF_A_COLLECTION)
OR.compare             := $(if $(LOG)$(RUN),,$(comma) or LOG=their.log RUN=<task>/<run>)
OR.images              := $(comma) or SOURCE=wga
name_of  = $(firstword $(subst =, ,$(1)))
lacks    = $(strip $(foreach each,$(NEEDS.$(1)),$(if $($(call name_of,$(each))),,$(call name_of,$(each))=)))
complain = $(if $(call lacks,$(1)),$(error make $(1) needs $(call lacks,$(1)), as: \
           make $(1) $(strip $(NEEDS.$(1)))$(OR.$(1))))
CHECKED := $(foreach goal,$(MAKECMDGOALS),$(call complain,$(goal)))

# A setting that is given and empty would quietly be the paper's.
CHECKED += $(foreach name,$(filter $(SETTINGS),$(GIVEN)),$(if $($(name)),,$(error $(name)= is empty)))

# $(call one_of,NAME,values): NAME is empty or one of them.
one_of = $(if $(filter-out $(2),$($(1))),$(error $(1)=$($(1)): it must be one of: $(2)))
CHECKED += $(foreach name,FORCE SKIP_BROKEN,$(call one_of,$(name),0 1)) $(call one_of,KEEP,some all)

# ---- Ground: the Python packages, Caffe, the sample ----------------------------------------------

PY     := .venv/bin/python
SETTING_FLAGS := $(foreach name,$(SETTINGS),$(if $($(name)),--$(subst _,-,$(shell echo $(name) | tr A-Z a-z)) '$($(name))'))
FLAGS  := --task '$(TASK)' --init '$(INIT)' --scenario '$(SCENARIO)' $(SETTING_FLAGS)
PLAN_FLAGS = $(FLAGS) --split '$(SPLIT)' --split-seed '$(SPLIT_SEED)' --raw '$(RAW)' --run '$(RUN)' \
             $(DEVICE) $(if $(WORKERS),--workers '$(WORKERS)')
INIT_FLAG := $(if $(filter command environment,$(firstword $(origin INIT))),--init '$(INIT)')
DEVICE := --gpu '$(GPU)' $(if $(THREADS),--threads '$(THREADS)')
FORCED := $(if $(filter-out 0,$(FORCE)),--force)

PIP_INSTALL := .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable
PIP_FAILED  := echo "error: pip could not install the packages of pyproject.toml (its words are above)"; exit 2

help:  ## this page
	@$(PYTHON) -m tools.help $(MAKEFILE_LIST)

.venv/.ready: pyproject.toml
	@$(PYTHON) -m tools.check_python
	@echo "installing the Python packages into .venv"
	@$(PYTHON) -m venv .venv
	@$(PIP_INSTALL) . || { $(PIP_FAILED); }
	@touch $@

# The extras of pyproject.toml: .venv/.with-dev, .venv/.with-search, ...
.venv/.with-%: .venv/.ready
	@echo "installing the Python packages for '$*' into .venv"
	@$(PIP_INSTALL) '.[$*]' || { $(PIP_FAILED); }
	@touch $@

venv: .venv/.ready  ## the Python packages, into .venv

caffe: .venv/.ready  ## BVLC Caffe, into .caffe; CAFFE_DEBS=folder of packages, DEBIAN_MIRROR=address, CAFFE_BLAS=debian
	@$(PY) -m tools.caffe $(if $(filter caffe,$(MAKECMDGOALS)),$(FORCED))

caffe-gpu: .venv/.ready  ## the same Caffe built for GPUs, into .caffe-gpu; CUDA_ARCH=, CUDNN=0, CUDA_HOME=, JOBS=
	@$(PY) -m tools.caffe_gpu $(if $(JOBS),--jobs '$(JOBS)') $(FORCED)

caffe-gpu-test: .venv/.ready  ## Caffe's own tests on the card
	@$(PY) -m tools.caffe_gpu_test $(if $(filter-out auto,$(GPU)),--gpu '$(GPU)')

parity: .venv/.ready $(ENGINE)  ## CaffeNet on CPU and GPU, number by number; OTHER=a Python that can import caffe
	@$(PY) -m tools.parity $(DEVICE) $(if $(OTHER),--other '$(OTHER)')

# What parquet files need, where some lie in RAW, and where some are to be got.
WITH_MATERIAL := lists lmdb prototxt train evaluate table1 fig2 fig3 images $(TASKS)
ifneq ($(filter $(WITH_MATERIAL),$(MAKECMDGOALS)),)
ANY_PARQUET := $(FROM)$(shell find -L '$(RAW)' -maxdepth 5 -name images -prune -o -name '*.parquet' -print -quit 2> /dev/null)
EMPTY_WIKIART := $(and $(filter images,$(MAKECMDGOALS)),$(filter wikiart%,$(SOURCE) $(TASK)),$(if $(wildcard $(RAW)/wikiart/*),,yes))
PARQUET := $(if $(ANY_PARQUET)$(EMPTY_WIKIART),.venv/.with-parquet)
endif

# The engine that runs need: the user's own, or the one that `make caffe` installs.
ifdef CAFFE_PYTHON
export CAFFE_PYTHON
ENGINE :=
else
ENGINE := caffe
endif
ifdef CAFFE_DEBS
export CAFFE_DEBS
endif
ifdef READ_AS
export READ_AS
endif
ifdef CAFFE_BLAS
export CAFFE_BLAS
endif
ifdef CAFFE_LAYERS
export CAFFE_LAYERS
endif
ifdef DEBIAN_MIRROR
export DEBIAN_MIRROR
endif

sample: .venv/.ready  ## 174 paintings of the Metropolitan Museum, into datasets/raw/met
	@$(PY) -m tools.sample --raw '$(RAW)'

doctor: .venv/.ready  ## what this machine has, what is missing, and how to get it
	@$(PY) -m tools.doctor

weights: .venv/.ready $(ENGINE)  ## the weights of INIT, or all; FILE=, MEAN= put a file of yours in place
	@$(PY) -m tools.weights $(INIT_FLAG) \
	  $(if $(FILE),--file '$(FILE)') $(if $(MEAN),--mean '$(MEAN)')

inspect: .venv/.ready $(ENGINE)  ## WEIGHTS=file layer by layer, beside CaffeNet
	@$(PY) -m tools.inspect --weights '$(WEIGHTS)'

# ---- The main job: make TASK, or one step of it: make STEP TASK=... ------------------------------

$(TASKS): .venv/.ready
	@$(MAKE) --no-print-directory evaluate TASK=$@

demo: sample  ## the main job on the sample: a short training from scratch, and its test
	@$(MAKE) --no-print-directory met_nationality INIT=scratch EPOCHS=20 LR=0.002 BATCH=16

STEPS := lists lmdb prototxt train evaluate
lists:     ## step 1: a task's images, split 70/10/20
lmdb:      ## step 2: its LMDBs and mean
prototxt:  ## step 3: the run's prototxts, free to edit by hand
train:     ## step 4: train, or go on training
evaluate:  ## step 5: test, each test image once

ifndef DATA
# First make: experiments.single_run.plan checks the words, says what is missing, and tells the files to work on.
$(STEPS): .venv/.ready $(PARQUET)
	@plan=$$($(PY) -m tools.plan --step $@ $(PLAN_FLAGS)) && eval "$(MAKE) --no-print-directory $@ $$plan"
else
lists: $(DATA)/lists.json

lmdb: $(DATA)/lmdb.json

# Looked at each time: an image may have come anywhere below. What is the same keeps its date.
$(DATA)/lists.json: always
	@$(PY) -m tools.lists --task '$(TASK)' --seed '$(SPLIT_SEED)' --split '$(SPLIT)' --raw '$(RAW)' \
	  $(if $(filter lists,$(MAKECMDGOALS)),$(FORCED))

# FORCE=1 is for the prototxts and the run; the LMDBs too only when they are what is asked for.
AGAIN := $(if $(filter lmdb,$(MAKECMDGOALS)),$(FORCED))
$(DATA)/lmdb.json: $(DATA)/lists.json $(if $(AGAIN)$(filter lmdb,$(MAKECMDGOALS)),always)
	@$(PY) -m tools.lmdb --data '$(DATA)' $(AGAIN) \
	  $(if $(WORKERS),--workers '$(WORKERS)') $(if $(filter-out 0,$(SKIP_BROKEN)),--skip-broken)
	@touch $@

prototxt: $(DATA)/lmdb.json $(ENGINE) $(if $(FETCH),fetch)
	@$(PY) -m tools.prototxt $(FLAGS) --data '$(DATA)' --out 'prototxt/$(TASK)/$(RUN_NAME)' \
	  --mean '$(MEAN_FILE)' --gpu '$(GPU)' $(FORCED) \
	  --snapshot-prefix 'experiments/runs/$(TASK)/$(RUN_NAME)/snapshots/caffenet'

fetch: $(ENGINE)
	@$(PY) -m tools.weights --init '$(FETCH)'

train: prototxt
	@$(PY) -m experiments.single_run.training $(FLAGS) $(DEVICE) --data '$(DATA)' --run '$(RUN_NAME)' \
	  $(if $(KEEP),--keep '$(KEEP)') $(FORCED)

evaluate: train
	@$(PY) -m experiments.single_run.evaluation --task '$(TASK)' --data '$(DATA)' --run '$(RUN_NAME)' $(DEVICE) $(FORCED)
endif

verify-lmdb: .venv/.ready  ## read TASK's LMDBs again: keys, labels, sizes, mean; some images too
	@plan=$$($(PY) -m tools.plan --step $@ $(PLAN_FLAGS)) && eval "$(MAKE) --no-print-directory $@-of $$plan"

verify-lmdb-of:
	@$(PY) -m tools.verify_lmdb --data '$(DATA)' --decode 20

images: .venv/.ready $(PARQUET)  ## get the images of SOURCE (wga or wikiart), or of TASK; FROM=owner/dataset of Hugging Face
	@$(PY) -m tools.images $(if $(SOURCE),--source '$(SOURCE)',--task '$(TASK)') --raw '$(RAW)' \
	  $(if $(FROM),--from '$(FROM)')

# ---- The paper's tables and figures --------------------------------------------------------------

table1: .venv/.ready $(PARQUET)  ## classes and images of each task, counted from the catalogues, beside the paper's
	@$(PY) -m tools.table $@ --raw '$(RAW)'

table2 table3 table4: .venv/.ready  ## printed, ours, difference, from the runs there are
	@$(PY) -m tools.table $@

table: .venv/.ready  ## the table of GRID, a grid of your own
	@$(PY) -m tools.table table --grid '$(GRID)'

FIGURES := fig1 fig2 fig3 fig4 fig5 fig6 fig7 fig8 fig9 fig10 fig11 fig12 fig13 fig14
fig1 fig4:  ## example paintings: one of each WikiArt genre; a few of each source; SEED=
fig2 fig3:  ## class distributions
fig5 fig6 fig7 fig8 fig9:  ## curves, accuracy and time, from the runs there are
fig10 fig11 fig12 fig13 fig14:  ## confusion matrices and confused pairs; TASK=, RUN= draw them of yours
$(FIGURES): .venv/.ready $(PARQUET)
	@$(PY) -m tools.fig $@ $(if $(TASK),--task '$(TASK)') --raw '$(RAW)' \
	  $(INIT_FLAG) $(if $(RUN),--run '$(RUN)') $(SETTING_FLAGS)

report: .venv/.ready  ## experiments/report/index.html: whatever exists so far
	@$(PY) -m tools.report

# ---- Many runs -----------------------------------------------------------------------------------

grid: .venv/.ready $(ENGINE) $(if $(SCHEDULER),.venv/.with-grid)  ## all runs of GRID (a TOML file, or table2 ...); SCHEDULER=tcp://...
	@$(PY) -m experiments.grid.runner --grid $(GRID) --raw '$(RAW)' --gpu '$(GPU)' \
	  $(if $(SCHEDULER),--scheduler '$(SCHEDULER)') $(if $(THREADS),--threads '$(THREADS)') \
	  $(if $(SIDE_BY_SIDE),--side-by-side '$(SIDE_BY_SIDE)') $(if $(KEEP),--keep '$(KEEP)') \
	  $(if $(filter-out 0,$(SKIP_BROKEN)),--skip-broken)

status: .venv/.ready  ## which runs are done, running, failed, missing; their cost
	@$(PY) -m experiments.grid.overview $(if $(GRID),--grid $(GRID))

# Figure 15: a genre-tuned and a style-tuned model. Figure 16: models from each initialisation.
TWO  := wikiart_genre/hybrid-all wikiart_style/hybrid-all
FIVE := $(foreach init,caffenet hybrid memnet sentiment flickr,wikiart_genre/$(init)-all)
paper: .venv/.ready  ## everything: all runs of the paper, its tables and figures, the report
	@make="$(MAKE) --no-print-directory"; \
	$$make grid GRID='table2 table3 table4 figures'; grid=$$?; \
	$$make --keep-going table1 fig1 fig2 fig3 fig4; \
	if test -f experiments/runs/wikiart_style/hybrid-all/results.json; then \
	  $$make features WEIGHTS='$(TWO)' TASK=wikiart_genre; \
	  $$make fig15 MODELS='$(TWO)' TASK=wikiart_genre; \
	  $$make fig16 MODELS='$(FIVE)' TASK=wikiart_genre; fi; \
	$$make report && exit $$grid

# ---- Against somebody else's Caffe, and between runs ----------------------------------------------

compare: .venv/.ready $(ENGINE)  ## LOG=their.log RUN=task/run: curves; WEIGHTS=a WITH=b: layer by layer
	@$(PY) -m tools.compare $(if $(LOG),--log '$(LOG)') $(if $(RUN),--run '$(RUN)') \
	  $(if $(WEIGHTS),--weights '$(WEIGHTS)') $(if $(WITH),--with '$(WITH)')

significance: .venv/.ready  ## are the inits (or RUNS) different on TASK? McNemar, bootstrap
	@$(PY) -m tools.significance --task '$(TASK)' --scenario '$(SCENARIO)' $(SETTING_FLAGS) \
	  $(if $(RUNS),--runs $(RUNS))

predict: .venv/.ready $(ENGINE)  ## score a foreign WEIGHTS=file on TASK's test images; MEAN=, NET=
	@$(PY) -m tools.predict --weights '$(WEIGHTS)' --task '$(TASK)' --split '$(SPLIT)' \
	  --split-seed '$(SPLIT_SEED)' $(if $(MEAN),--mean '$(MEAN)') $(if $(NET),--net '$(NET)') $(DEVICE)

# ---- Similarity ----------------------------------------------------------------------------------

# A collection is a TASK's images, or a folder of IMAGES; MODELS are runs or inits.
COLLECTION := $(if $(IMAGES),--images '$(IMAGES)',--task '$(TASK)' --split '$(SPLIT)' --split-seed '$(SPLIT_SEED)')

features: .venv/.with-search $(ENGINE)  ## fc7 (BLOB=) of WEIGHTS on TASK or IMAGES=folder
	@$(PY) -m tools.features --weights $(WEIGHTS) $(COLLECTION) $(if $(MEAN),--mean '$(MEAN)') \
	  $(if $(BLOB),--blob '$(BLOB)') $(if $(filter-out 0,$(SKIP_BROKEN)),--skip-broken) $(DEVICE) $(FORCED)

similar: .venv/.with-search $(ENGINE)  ## the K images most similar to QUERY, once for each of MODELS
	@$(PY) -m tools.similar --query '$(QUERY)' --models $(MODELS) $(COLLECTION) $(if $(K),-k '$(K)') \
	  $(if $(INDEX),--index '$(INDEX)') $(if $(BLOB),--blob '$(BLOB)') --raw '$(RAW)' $(DEVICE)

retrieval-scores: .venv/.with-search $(ENGINE)  ## precision@k and mAP of MODELS on TASK's test images
	@$(PY) -m tools.retrieval_scores --models $(MODELS) --task '$(TASK)' --split '$(SPLIT)' --split-seed '$(SPLIT_SEED)' \
	  $(if $(K),--k $(K)) --raw '$(RAW)' $(DEVICE)

fig15 fig16: .venv/.with-search $(ENGINE)  ## neighbours by genre and style; distances between MODELS
	@$(PY) -m tools.$@ --models $(MODELS) $(COLLECTION)

explain: .venv/.with-search $(ENGINE)  ## why did RUN (task/run) say that of IMAGE? Grad-CAM, saliency
	@$(PY) -m tools.explain --image '$(IMAGE)' --run '$(RUN)' $(if $(K),-k '$(K)') $(if $(LABEL),--label '$(LABEL)') --raw '$(RAW)' $(DEVICE)

serve: .venv/.with-search $(ENGINE)  ## the search page of MODELS on TASK, on this machine alone
	@$(PY) -m tools.serve --models $(MODELS) $(COLLECTION) $(if $(PORT),--port '$(PORT)') \
	  $(if $(INDEX),--index '$(INDEX)') $(if $(HOST),--host '$(HOST)') --raw '$(RAW)' $(DEVICE)

# ---- For developers ------------------------------------------------------------------------------

lint: .venv/.with-dev  ## ruff and mypy
	@.venv/bin/ruff format --check . && .venv/bin/ruff check . && .venv/bin/mypy .

BROWSER := $(and $(shell command -v chromium),$(shell command -v chromedriver))
test: .venv/.with-dev $(ENGINE) sample  ## the tests, on real Caffe; TESTS=tests/test_x.py for some
	@$(if $(BROWSER),,echo "the tests in a real browser are left out: apt-get install chromium chromium-driver")
	@$(PY) -m pytest $(if $(BROWSER),,-m 'not browser') $(TESTS)

BENCHES ?= $(if $(filter auto none,$(GPU)),overhead lists lmdb grid similar,gpu)
bench: .venv/.with-search $(ENGINE) sample  ## figures of speed, with the machine's cores; BENCHES="lmdb grid" for some
	@for each in $(BENCHES); do echo "== bench.$$each"; \
	  $(PY) -m tools.bench.$$each $$(test $$each = gpu && echo --gpu '$(GPU)') || exit; done

.DEFAULT:
	@$(PYTHON) -m tools.names target '$@' $(TARGETS) $(TASKS)

.PHONY: $(TARGETS) $(TASKS) verify-lmdb-of fetch always
.DEFAULT_GOAL := help
