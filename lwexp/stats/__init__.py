"""stats: scores per answer and per prompt, their intervals, paired differences and rank correlation; pure.

Reads responses and verdicts that are in memory. Writes nothing, and never touches files, models or judges.
"""
