#!/bin/sh
# What `make bench` needs besides Python packages: wrk, which makes the load, and redis-server, which Celery needs
# (installed if root on Debian), and an environment of its own, with a Python that runs all peers (Django 6 wants 3.12)
# where there is one.
# usage: bench_tools.sh FOLDER [PYTHON]
set -eu
folder=$1
wanted=${2:-}

lacking=''
for program in wrk redis-server; do
    command -v "$program" >/dev/null 2>&1 || lacking="$lacking $program"
done
if [ -n "$lacking" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing$lacking …"
    apt-get update -qq
    # RUNLEVEL: no service is started by the installation.
    # shellcheck disable=SC2086 # several names
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $lacking >/dev/null
fi
if ! command -v wrk >/dev/null 2>&1; then
    echo 'make bench needs wrk. Debian: sudo apt-get install wrk; macOS: brew install wrk' >&2
    exit 1
fi
command -v redis-server >/dev/null 2>&1 ||
    echo 'No redis-server here: deliveries are not compared with Celery. Debian: sudo apt-get install redis-server'

[ ! -x "$folder/bin/python" ] || exit 0
if [ -z "$wanted" ]; then
    for candidate in python3 python3.12 python3.13 python3.14 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[234]*/bin/python3; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 12) <= sys.version_info[:2] <= (3, 14))' >/dev/null 2>&1; then
            wanted=$candidate
            break
        fi
    done
fi
[ -n "$wanted" ] || echo 'No Python of 3.12 to 3.14 here, which Django 6 needs: that peer is left out.'
exec sh "$(dirname "$0")/make_venv.sh" "$folder" "$wanted"
