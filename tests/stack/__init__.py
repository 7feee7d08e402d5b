"""A whole site as real processes on loopback, for the faults and the benchmarks."""
