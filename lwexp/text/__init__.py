"""text: pure functions on text that every room may use: counting, stated lengths, refusals, plan prefixes, loops.

Reads nothing and writes nothing. Never touches files, models or configs.
"""
