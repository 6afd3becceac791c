#!/bin/sh
# Make a virtual environment with a Python that RxDesk runs on.
# usage: make_venv.sh FOLDER [PYTHON]
set -eu
folder=$1
wanted=${2:-}

fits() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' >/dev/null 2>&1
}

if [ -n "$wanted" ]; then
    fits "$wanted" || { echo "RxDesk runs on Python 3.11 to 3.14; $wanted is none of them, or does not run." >&2; exit 1; }
    python=$wanted
else
    python=
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if fits "$candidate"; then python=$candidate; break; fi
    done
    if [ -z "$python" ]; then
        echo 'RxDesk runs on Python 3.11 to 3.14, and no such python3 is on the PATH.' >&2
        echo 'Install one (Debian: apt-get install python3 python3-venv; macOS: brew install python@3.13),' >&2
        echo 'or name it: make install PYTHON=/path/to/python3.' >&2
        exit 1
    fi
fi

# Debian packs the part of Python that makes environments on its own.
if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo 'Installing python3-venv …'
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
    fi
    if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        echo "$python cannot make virtual environments. On Debian: sudo apt-get install python3-venv" >&2
        exit 1
    fi
fi

echo "Making $folder with $("$python" --version) …"
"$python" -m venv --clear "$folder"
