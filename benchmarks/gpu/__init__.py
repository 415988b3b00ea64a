"""Checks and measurements that need a GPU, within a deadline: correctness first, then speed, then comparisons.

Reads nothing but the repository. Writes one JSON line per case when the case is done. Documented in docs/gpu_kit.md.
"""
