# Needs make and a Python >= 3.11 that has venv or pip. Everything else lands in .venv, never outside it.
#   make run ROUTE=name PORT=9000     make test ARGS='-k outcome -x'     make install PYTHON=python3.13

MAKEFLAGS += --no-print-directory
PYTHONS := $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11)
IN_VENV := .venv/bin/
STAMP := .venv/.installed
# Many tests wait for a process or a deadline, so there are more workers than cores.
JOBS = $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2))))

# A Python of the right age that can make environments, else one of the right age, else nothing.
FIND_PYTHON = python=; able=; \
  for p in $(PYTHONS); do \
    "$$p" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
    python=$${python:-$$p}; \
    if "$$p" -c 'import ensurepip' 2>/dev/null || "$$p" -m pip --version >/dev/null 2>&1; then \
      python=$$p; able=yes; break; fi; \
  done; \
  if [ -z "$$python" ]; then \
    echo 'No Python >= 3.11 among: $(PYTHONS). Install one, or name yours: make install PYTHON=/path/to/python3' >&2; exit 1; fi; \
  if [ -z "$$able" ]; then \
    echo "$$python has neither ensurepip nor pip. Install the Debian package python3-venv (or python3-pip), then repeat." >&2; exit 1; fi

# Puts pip into the environment $$venv, or borrows the outer one where the system splits ensurepip off (Debian).
FIND_PIP = \
  if "$$venv/bin/python" -m pip --version >/dev/null 2>&1 \
    || "$$venv/bin/python" -m ensurepip --default-pip >/dev/null 2>&1; then pip="$$venv/bin/python -m pip"; \
  else pip="$$python -m pip --python $$venv/bin/python"; fi; \
  pip_install="$$pip install -qq --disable-pip-version-check --no-input"

.DEFAULT_GOAL := help
.PHONY: help install sdks run test soak fuzz bench bench-growth check docs lock reference

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s%s\n", $$1, $$2 }' Makefile

install: $(STAMP)  ## make .venv with the gateway and what develops it (the targets below do so when needed)

sdks: $(STAMP)  ## add the vendors' SDKs, which tests/sdk runs as clients and is skipped without
	@$(FIND_PYTHON); venv=.venv; $(FIND_PIP); $$pip_install -c constraints.txt -e '.[dev,sdk-tests]'

run: $(STAMP)  ## gateway and stand-in vendor, with a curl line to try; ROUTE=name, PORT=number
	@$(IN_VENV)gateway demo $(if $(PORT),--port $(PORT)) $(ROUTE)

test: $(STAMP)  ## run the tests, two workers per core (JOBS=number); ARGS goes to pytest
	@env -u PYTHONDONTWRITEBYTECODE $(IN_VENV)python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

soak: $(STAMP)  ## the long tests: reloads under load (SECONDS=number), 200 kills, an upstream that is down for a minute
	@GATEWAY_SOAK=long GATEWAY_SOAK_S=$(or $(SECONDS),10) $(IN_VENV)python -m pytest -s tests/soak \
	  tests/test_reload.py::test_frequent_reloads_do_not_disturb_reports $(ARGS)

FUZZ_TARGETS = http body verifier upstream yaml json
fuzz: $(STAMP)  ## fuzz each target for a minute (SECONDS=number), two at a time; a crash fails it
	@$(FIND_PYTHON); venv=.venv; $(FIND_PIP); $$pip_install -c constraints.txt -e '.[dev,fuzz]'
	@printf '%s\n' $(FUZZ_TARGETS) | xargs -P 2 -I NAME sh -c \
	  '$(IN_VENV)python -m tests.fuzz NAME $(or $(SECONDS),60) >fuzz-NAME.log 2>&1; code=$$?; \
	  printf "%-9s exit code %s, %s\n" NAME "$$code" "$$(grep number_of_executed_units fuzz-NAME.log)"; \
	  if [ $$code -eq 0 ]; then rm fuzz-NAME.log; else tail -n 40 fuzz-NAME.log; exit 255; fi'

BENCH_INSTALLED := bench/.installed
bench: $(STAMP) $(BENCH_INSTALLED)  ## CPU per report of the gateway and of other programs (SECONDS=number, ARGS); see bench/README.md
	@$(IN_VENV)python -m bench --seconds $(or $(SECONDS),4) $(ARGS)

bench-growth: $(STAMP) $(BENCH_INSTALLED)  ## its growth by routes, points and queue, with plots (ARGS='--memory-minutes 10')
	@$(IN_VENV)python -m bench.growth --seconds $(or $(SECONDS),4) $(ARGS)

$(BENCH_INSTALLED): pyproject.toml constraints.txt bench/peers/package.json
	@$(FIND_PYTHON); venv=.venv; $(FIND_PIP); $$pip_install -c constraints.txt -e '.[dev,bench]'
	@mkdir -p $@ && cp bench/peers/package.json $@/ && \
	{ npm install --prefix $@ --silent --no-fund --no-audit --omit=dev || echo "npm: Express and Node-RED are left out" >&2; }
	@$(FIND_PYTHON); venv=$@/mitmproxy; "$$python" -m venv --clear --without-pip $$venv && $(FIND_PIP) && \
	$$pip_install mitmproxy || echo "pip: mitmproxy is left out" >&2
	@touch $@

check: $(STAMP)  ## format, lint, types, and every diagnostic and case of routes.d
	$(IN_VENV)ruff format --check .
	$(IN_VENV)ruff check .
	$(IN_VENV)mypy --strict gateway
	$(IN_VENV)gateway check routes.d

docs: $(STAMP)  ## build the documentation as a site in site/, and check its links
	@$(FIND_PYTHON); venv=.venv; $(FIND_PIP); $$pip_install -c constraints.txt -e '.[dev,docs]'
	@$(IN_VENV)zensical build --strict --clean
	@$(IN_VENV)python -m pytest -q tests/test_site.py

# The stamp is written last and holds the folder, so that half an installation is finished, and one that was
# moved here (its scripts name the old place) is created again.
ifneq "$(shell cat $(STAMP) 2>/dev/null)" "$(CURDIR)"
.PHONY: $(STAMP)
endif
$(STAMP): pyproject.toml constraints.txt
	@$(FIND_PYTHON); venv=.venv; \
	if [ -f $(STAMP) ] && [ "$$(cat $(STAMP))" != "$(CURDIR)" ]; then rm -rf .venv; fi; \
	if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	  "$$python" -m venv --clear --without-pip .venv || exit 1; fi; \
	echo "Setting up .venv; this takes about a minute, once." >&2; \
	$(FIND_PIP); \
	$$pip_install -c constraints.txt -e '.[dev]' && printf '%s\n' "$(CURDIR)" > $(STAMP)

reference:  ## write the key tables of docs/reference.md
	@$(IN_VENV)python -c 'from pathlib import Path; from gateway.specs.documentation import with_key_tables; \
	  page = Path("docs/reference.md"); page.write_text(with_key_tables(page.read_text()))'

lock:  ## rewrite constraints.txt with the newest versions, from an empty environment
	@$(FIND_PYTHON); venv=$$(mktemp -d) && trap 'rm -rf "$$venv"' EXIT && \
	"$$python" -m venv --without-pip "$$venv" || exit 1; \
	$(FIND_PIP); \
	$$pip_install -e '.[dev,sdk-tests,fuzz,docs,bench]' && \
	$$pip list --format=freeze --disable-pip-version-check --exclude metric-gateway --exclude pip \
	  --exclude wheel > "$$venv/constraints.txt" && \
	{ echo '# What the tests ran with, written by: make lock'; LC_ALL=C sort -f "$$venv/constraints.txt"; } \
	  > constraints.txt
