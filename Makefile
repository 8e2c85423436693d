# Two commands on a fresh machine: `make demo` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# cron, sudo and CI runners leave these out.
export PATH := $(PATH):/usr/sbin:/sbin
ifeq ($(HOME),)
export HOME := $(or $(shell getent passwd "$$(id -u)" | cut -d: -f6),/tmp)
endif

CACHE ?= $(or $(SAGEBRUSH_CACHE),$(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME)/sagebrush,$(HOME)/.cache/sagebrush))
export SAGEBRUSH_CACHE := $(CACHE)
UV_VERSION := 0.13.9
UV := $(CACHE)/uv-$(UV_VERSION)/bin/uv
RUN := $(UV) run --frozen --no-sync
PYTHON ?= python3
# The package that gives a Debian Python its venv: python3-venv, python3.12-venv, …
VENV_PACKAGE = $(or $(filter python3%,$(notdir $(PYTHON))),python3)-venv
COMPILED := model_server/setup.py $(wildcard model_server/sagebrush_server/*.pyx model_server/sagebrush_server/*/*.pyx)
HAS_HEADERS = import pathlib, sys, sysconfig; sys.exit(not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists())
APT := DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=600

# Where the demo's backend runs: empty or cluster, or sagemaker (simulated).
BACKEND ?=
CLUSTER ?=
CONTEXT ?=
REGISTRY ?=
DATA ?=
DEMO_FLAGS ?=
BENCH_FLAGS ?=
QUICK ?=
# A folder of recorded traces for bench-replay.
TRACES ?=
DEMO_TARGET = --cluster "$(CLUSTER)" --context "$(CONTEXT)" --registry "$(REGISTRY)"

ifneq ($(filter demo demo-down,$(MAKECMDGOALS)),)
ifneq ($(filter-out cluster sagemaker,$(BACKEND)),)
$(error BACKEND=$(BACKEND): choose cluster (the default: real pods) or sagemaker (SageMaker, simulated))
endif
ifeq ($(BACKEND),sagemaker)
ifneq ($(CLUSTER)$(CONTEXT)$(REGISTRY),)
$(error CLUSTER, CONTEXT and REGISTRY are for BACKEND=cluster: with BACKEND=sagemaker the demo brings a Kubernetes API of its own)
endif
endif
endif

.PHONY: help
help: ## List the targets
	@awk 'BEGIN{FS=":.*## "} /^[a-z0-9-]+:.*## /{printf "  %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(UV):
	@echo "== installing uv $(UV_VERSION) into $(CACHE)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: set PYTHON=" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { $(APT) update && $(APT) install -y --no-install-recommends $(VENV_PACKAGE); }
	@$(PYTHON) -m venv $(CACHE)/uv-$(UV_VERSION)
	@$(CACHE)/uv-$(UV_VERSION)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.ready: uv.lock pyproject.toml operator/pyproject.toml model_server/pyproject.toml $(COMPILED) | $(UV)
	@{ command -v c++ && $(PYTHON) -c '$(HAS_HEADERS)'; } >/dev/null \
	  || { echo "== installing a C++ compiler and Python's headers"; $(APT) update && $(APT) install -y --no-install-recommends g++ $(subst -venv,-dev,$(VENV_PACKAGE)); }
	@echo "== installing the Python environment"
	@$(UV) sync --frozen --quiet --python $(PYTHON)
	@.venv/bin/python -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null \
	  || { echo "== installing OpenMP, which LightGBM needs"; $(APT) update && $(APT) install -y --no-install-recommends libgomp1; } \
	  || echo "warning: no libgomp.so.1: LightGBM models can't be loaded; apt-get install libgomp1" >&2
	@touch $@

.PHONY: env
env: .venv/.ready ## Install uv and the Python environment

.PHONY: demo
demo: env ## Train, serve and scale on a real cluster (CLUSTER=devcluster|current|kind CONTEXT= REGISTRY= DATA=), or BACKEND=sagemaker
ifeq ($(BACKEND),sagemaker)
	@$(RUN) python -m examples.sagemaker_demo --data "$(DATA)" $(DEMO_FLAGS)
else
	@$(RUN) python -m examples.demo $(DEMO_TARGET) --data "$(DATA)" $(DEMO_FLAGS)
endif

.PHONY: demo-down
demo-down: env ## Remove the demo, and the cluster where it is ours
ifeq ($(BACKEND),sagemaker)
	@$(RUN) python -m examples.sagemaker_demo down
else ifeq ($(filter-out devcluster,$(CLUSTER))$(CONTEXT)$(REGISTRY),)
	@$(RUN) python -m devcluster down
else
	@$(RUN) python -m examples.demo down $(DEMO_TARGET)
endif

.PHONY: cluster-up
cluster-up: env ## Start the one-node cluster
	@$(RUN) python -m devcluster up

.PHONY: cluster-down
cluster-down: env ## Stop the one-node cluster and leave nothing behind
	@$(RUN) python -m devcluster down

.PHONY: test
test: env ## Everything: lint, unit, integration, chart, e2e
	@$(RUN) python -m tests.run

.PHONY: unit
unit: env ## Unit tests, in seconds, without a cluster
	@$(RUN) python -m tests.run unit

.PHONY: integration
integration: env ## Tests against a real kube-apiserver and etcd
	@$(RUN) python -m tests.run integration

.PHONY: e2e
e2e: env ## Tests on the one-node cluster with real pods
	@$(RUN) python -m tests.run e2e

.PHONY: lint
lint: env ## ruff, mypy --strict, import-linter
	@$(RUN) python -m tests.run lint

.PHONY: bench-sagemaker
bench-sagemaker: env ## Calls, time to notice, CPU and memory with 700 objects on simulated SageMaker (BENCH_FLAGS=--quick)
	@$(RUN) python -m devcluster tools --only etcd,kube-apiserver,kubectl
	@$(RUN) python -m benchmarks.sagemaker $(BENCH_FLAGS)

.PHONY: bench-scaling
bench-scaling: env ## Spikes on real pods of the one-node cluster: time to new replicas, failed requests, p99 (QUICK=1: two minutes of load)
	@PYTHONUNBUFFERED=1 $(RUN) python -m benchmarks.scaling $(if $(QUICK),--quick) $(BENCH_FLAGS)

.PHONY: bench-replay
bench-replay: env ## The scaling policy beside HPA, KEDA, KPA and SageMaker's, in the simulator (TRACES=folder, BENCH_FLAGS=--record)
	@PYTHONUNBUFFERED=1 $(RUN) python -m benchmarks.replay $(if $(TRACES),--traces "$(TRACES)") $(BENCH_FLAGS)

.PHONY: bench-training
bench-training: env ## Memory of training while the rows grow to 10 GB, and rows a second (BENCH_FLAGS=--quick)
	@PYTHONUNBUFFERED=1 $(RUN) python -m benchmarks.training $(BENCH_FLAGS)

.PHONY: bench-model-server
bench-model-server: env ## The model server beside SageMaker's, KServe, MLServer, BentoML, FastAPI, nginx: requests/s, CPU, latency (QUICK=1: two minutes)
	@PYTHONUNBUFFERED=1 $(RUN) python -m benchmarks.model_server $(if $(QUICK),--quick) $(BENCH_FLAGS)

.PHONY: bench-many-endpoints
bench-many-endpoints: env ## CPU, queries, writes and memory with 1,000 scaled endpoints on a real Kubernetes API (BENCH_FLAGS=--quick)
	@$(RUN) python -m devcluster tools --only etcd,kube-apiserver,kubectl,kube-controller-manager,kube-scheduler,kwok
	@PYTHONUNBUFFERED=1 $(RUN) python -m benchmarks.many_endpoints $(BENCH_FLAGS)

.PHONY: crds
crds: env ## Generate the CRDs from the models
	@$(RUN) python -m sagebrush.backends.sagemaker.limits operator/sagebrush/api/aws_limits.py
	@$(RUN) ruff format --quiet operator/sagebrush/api/aws_limits.py
	@$(RUN) sagebrush crds crds charts/sagebrush/files/crds

.PHONY: format
format: env ## Format the code
	@$(RUN) ruff format . && $(RUN) ruff check --fix .
