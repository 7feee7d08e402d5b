"""The benchmarks: real processes, simulators beside them, contenders in the same run. See docs/benchmarks.md."""
