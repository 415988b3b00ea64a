"""text: pure functions on text that every room may use.

Counting and stated lengths, refusals, loops, plan prefixes; reasoning told from answers; prompts filled and quotations
closed; replies read; outside text made plain and storable. Reads nothing and writes nothing. Never touches files,
models or configs.
"""
