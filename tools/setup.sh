#!/bin/sh
# Makes .venv and installs requirements/$1.txt (run, dev or e2e) into it. Every way to fail ends in one sentence.
set -u
what=${1:-run}
need='Hygate needs Python 3.11 or newer with venv.
  Debian, Ubuntu:  sudo apt install python3 python3-venv make
  Fedora:          sudo dnf install python3 make
  macOS:           brew install python make'

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
        if is_new_enough "$candidate"; then
            printf '%s' "$candidate"
            return
        fi
    done
}

case $what in
run | dev | e2e) ;;
*) fail "tools/setup.sh takes run, dev or e2e, not $what." ;;
esac
if ! { mkdir -p .venv && : >.venv/.writable && rm .venv/.writable; } 2>/dev/null; then
    fail "This folder cannot be written to: Hygate keeps its environment in .venv and its data in var here."
fi

if ! is_new_enough .venv/bin/python; then
    python=$(find_python)
    [ -n "$python" ] || fail "$need"
    "$python" -c 'import venv, ensurepip' >/dev/null 2>&1 || fail "$python has no venv. $need"
    echo "Making .venv with $("$python" --version 2>&1) ..."
    "$python" -m venv --clear .venv >.venv.log 2>&1 || {
        tail -n 3 .venv.log >&2
        fail "The environment .venv could not be made; .venv.log has all of it. $need"
    }
    rm -f .venv.log
fi
.venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip >/dev/null 2>&1 ||
    fail "The environment .venv has no pip. Remove it (make clean) and try again. $need"

echo "Installing what Hygate needs (the first time takes a minute) ..."
log=.venv/install-$what.log
if ! .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --retries 2 --timeout 15 \
    --require-hashes -r "requirements/$what.txt" >"$log" 2>&1; then
    if grep -qiE 'NewConnectionError|ConnectTimeout|ReadTimeout|NameResolution|Temporary failure|Connection refused|ProxyError|unreachable' "$log"; then
        fail "The package index cannot be reached: check the network, or point pip at your own index or proxy."
    fi
    if grep -qi 'No space left' "$log"; then
        fail "The disk is full: Hygate needs about 400 MB here."
    fi
    if grep -qi 'No matching distribution' "$log"; then
        grep -i 'No matching distribution' "$log" | tail -n 1 >&2
        fail "Something Hygate needs is not built for this system: it runs on Linux with glibc, and on macOS."
    fi
    grep -i error "$log" | tail -n 3 >&2
    fail "Installing failed; $log has all of it."
fi
touch .venv/.ready-run
[ "$what" = run ] || touch .venv/.ready-dev
[ "$what" = e2e ] || exit 0
command -v chromium >/dev/null || command -v google-chrome >/dev/null || {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
        fail "The browser tests need Chromium: install it (Debian: sudo apt install chromium), then try again."
    echo "Installing Chromium ..."
    { apt-get install -y -qq chromium || { apt-get update -qq && apt-get install -y -qq chromium; }; } \
        >.venv/install-chromium.log 2>&1 || fail "Chromium could not be installed; .venv/install-chromium.log has all of it."
}
touch .venv/.ready-e2e
