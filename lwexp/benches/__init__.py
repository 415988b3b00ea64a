"""benches: the sources of evaluation prompts. One file per kind; importing the package registers them.

Reads a bench's file (local or on the hub) or the offline topics. Writes nothing, and never touches models or scores.
"""

from lwexp.benches import file, ruler

__all__ = ["file", "ruler"]
