"""Fuzzing of everything that lwexp reads from outside. ``python -m benchmarks.fuzz <door>``, see ``__main__``."""
