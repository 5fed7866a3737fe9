"""Reproducible figures: `make bench`, or `python -m benchmarks`. They are written to docs/benchmarks.md.

What is compared runs on the same machine in the same run, so the ratios mean something where the numbers do not.
"""
