"""text: pure functions on text that every room may use.

Counts words, finds stated lengths, refusals and loops, separates reasoning and plans from answers, fills prompts,
reads replies, and makes outside text plain and storable. Reads nothing and writes nothing. Never touches files,
models or configs.
"""
