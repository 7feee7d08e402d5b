#!/bin/sh
# What takes too long for every change: all rows of the fault plan with several seeds, the seeded bugs, ten thousand
# random histories on each database that answers. About two hours on two cores.
set -eu
cd "$(dirname "$0")/.."

make faults MUTANTS=1
for seed in ${SEEDS:-1 2 3 4 5}; do
    make faults ALL=1 SEED="$seed"
done
HYGATE_HISTORIES=10000 make test PYTEST_ARGS="-n 4 --dist worksteal tests/simulation"
