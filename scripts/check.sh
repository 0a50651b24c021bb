#!/bin/sh
# make check: all checks, each one even where an earlier one failed.
set -u
cd "$(dirname "$0")/.."
status=0
export MYPYPATH=scripts
for step in 'ruff check .' 'ruff format --check .' 'python -m mypy' 'python -m mypy scripts' \
    'python checks/tidy.py'; do
    echo "check: $step"
    # shellcheck disable=SC2086
    .venv/bin/$step || status=1
done
exit $status
