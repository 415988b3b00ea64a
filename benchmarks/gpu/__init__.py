"""Everything that only a GPU can tell, case by case, within a deadline: right first, then fast, then compared.

Reads nothing but the repository. Writes one JSON line per case, when the case is done. docs/gpu_kit.md is the page.
"""
