"""text: pure functions on text that every room may use.

Counting and stated lengths, refusals, loops, plan prefixes, reasoning; prompts filled and quotations closed; replies read; outside
text made plain. Reads nothing and writes nothing. Never touches files, models or configs.
"""
