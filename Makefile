# The targets that people and the build server call; what they do stands in scripts/.
.POSIX:

PYTHON_VENV = .venv/bin/python

help:
	@sed -n 's/^#: //p' Makefile

#: make install   .venv with the programs under their classic names
install:
	@sh scripts/install.sh

#: make run       a home under ./var, everything started, two first messages; Ctrl-C ends it
run: install
	@$(PYTHON_VENV) scripts/run.py

#: make test      the tests
test: dev
	@sh scripts/tools.sh
	@$(PYTHON_VENV) -m pytest

#: make check     ruff, mypy --strict, tidy checks
check: dev
	@sh scripts/check.sh

#: make bench     us and Postfix in turn, on this machine
bench: dev
	@sh scripts/tools.sh
	@$(PYTHON_VENV) bench/main.py

#: make clean     remove what the other targets made, but no home and no mail
clean:
	@sh scripts/clean.sh

dev:
	@sh scripts/install.sh --dev

.PHONY: help install run test check bench clean dev
