#!/bin/sh
# Say so when an environment is there already, and its Python is not the one that is asked for.
# usage: same_python.sh FOLDER PYTHON
set -eu
version='import sys; print("%d.%d" % sys.version_info[:2])'
[ -x "$1/bin/python" ] || exit 0
has=$("$1/bin/python" -c "$version")
wanted=$("$2" -c "$version" 2>/dev/null) || wanted=
if [ "$has" != "$wanted" ]; then
    echo "PYTHON=$2 is not used: $1 is there already, with Python $has. \`make clean\` removes it." >&2
    exit 1
fi
