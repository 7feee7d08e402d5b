#!/bin/sh
# Every check runs, so that one look shows all there is to mend.
HYGATE_SIMULATED=1
export HYGATE_SIMULATED
bin=.venv/bin
bad=0

check() {
    echo "-- $*"
    "$@" || bad=1
}

check $bin/ruff check .
check $bin/ruff format --check .
check $bin/mypy
check $bin/lint-imports --no-logo
if [ -n "$(find templates -name '*.html' | head -n 1)" ]; then
    echo "-- djade --check templates"
    find templates -name '*.html' -exec $bin/djade --target-version 5.2 --check {} + || bad=1
fi
exit $bad
