#!/bin/sh
# make install: choose an interpreter, then let scripts/install.py make .venv with it.
# PYTHON=/path/to/python chooses by hand. As root only an interpreter counts that other accounts can
# reach; what Debian lacks is installed then.
set -eu
cd "$(dirname "$0")/.."
umask 022
# The scripts share code with the package, which is not installed yet.
PYTHONPATH=$PWD/src PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH PYTHONDONTWRITEBYTECODE

choose() {
    for candidate in ${PYTHON:-} /usr/bin/python3.11 /usr/bin/python3 \
        python3.11 python3.12 python3.13 python3.14 python3; do
        path=$(command -v "$candidate") || continue
        if "$path" scripts/probe.py; then
            chosen=$path
            return 0
        fi
    done
    return 1
}

need='python3 python3-venv passwd'
if ! choose; then
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "install: Python 3.11 or newer with its venv module is needed: run 'apt-get install $need' as root" >&2
        exit 1
    fi
    echo "install: no Python 3.11 with venv that every account can reach, so: apt-get install $need"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq </dev/null
    # shellcheck disable=SC2086
    apt-get install -y -qq --no-install-recommends $need </dev/null
    if ! choose; then
        echo "install: still no usable Python 3.11; name one: make install PYTHON=/path/to/python3" >&2
        exit 1
    fi
fi
exec "$chosen" scripts/install.py "$@"
