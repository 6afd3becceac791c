#!/bin/sh
# Programs that some tests use and pip cannot bring: Chromium (the Swagger page), redis-server (shared rate limits) and, on
# Linux, ip (the network namespace of the address policy's test).
# Root on Debian: they are installed. Elsewhere: said, and the tests that need them are skipped with the reason.
# With CI=true a missing one is a failure, since nothing may be skipped there.
set -eu

have_chromium() {
    command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 ||
        command -v google-chrome >/dev/null 2>&1 ||
        [ -x '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome' ] ||
        [ -x '/Applications/Chromium.app/Contents/MacOS/Chromium' ]
}

have_redis() { command -v redis-server >/dev/null 2>&1; }

have_ip() { [ "$(uname)" != Linux ] || command -v ip >/dev/null 2>&1; }

missing() {
    have_chromium || printf 'chromium '
    have_redis || printf 'redis-server '
    have_ip || printf 'iproute2 '
}

lacking=$(missing)
[ -n "$lacking" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing for the tests: $lacking…"
    log=$(mktemp)
    # One policy-rc.d answer for all: no service is started by the installation.
    if ! { apt-get update && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -y --no-install-recommends $lacking; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
    fi
    rm -f "$log"
    lacking=$(missing)
    [ -n "$lacking" ] || exit 0
fi

if [ "${CI:-}" = true ]; then
    echo "Missing and not to be installed here: $lacking(with CI=true no test may be skipped)." >&2
    exit 1
fi
echo "Not here: ${lacking}— the tests that use them are skipped. Debian: sudo apt-get install $lacking"
