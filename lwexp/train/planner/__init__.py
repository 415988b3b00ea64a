"""Checks and estimates before a run starts: memory, hours, what is missing on this machine."""
