#!/bin/sh
# make clean: remove what the targets made. Homes and mail stay.
set -eu
cd "$(dirname "$0")/.."
if [ -L .venv ]; then
    rm -rf "$(readlink .venv)"
fi
rm -rf .venv build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
find . -name __pycache__ -type d -prune -exec rm -rf {} +
