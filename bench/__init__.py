"""Benchmarks: Hubbub beside its peers, measured in one run. The method is in README.md."""
