"""benches: where prompts come from. One file per bench; importing the package registers them.

Reads a bench's file (local or on the hub) or the offline topics. Writes nothing, and never touches models or scores.
"""

from lwexp.benches import file, ruler

__all__ = ["file", "ruler"]
