"""harness: LongBench-Write and LongWrite-Ruler as tasks of inspect_ai and lm-evaluation-harness, with lwexp's scores.

Reads the files of benches. Writes nothing: inspect_ai and lm-evaluation-harness write their own logs. Never touches a
model itself: those tools ask it, and a task only gives them prompts and scores the answers as ``lwexp evaluate`` does.
"""
