"""benches: where prompts come from; one file a bench, and importing them registers them.

Reads a bench's file (local or on the hub) or the offline topics. Writes nothing, and never touches models or scores.
"""

from lwexp.benches import file, ruler

__all__ = ["file", "ruler"]
