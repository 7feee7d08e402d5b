#!/bin/sh
# Pins the dependencies of pyproject.toml for every platform, with hashes.
set -eu
uv=$(command -v uv || true)
[ -n "$uv" ] || uv=.venv/bin/uv
[ -x "$uv" ] || {
    echo "Locking needs uv (python3 -m pip install uv)." >&2
    exit 1
}
pin="$uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url"
$pin pyproject.toml -o requirements/run.txt
$pin --extra dev pyproject.toml -o requirements/dev.txt
$pin --extra dev --extra e2e pyproject.toml -o requirements/e2e.txt
