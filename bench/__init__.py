"""Benchmarks: the CPU time per report of the gateway and of other programs that do the same work (README.md)."""
