"""Talks to a model: ``lwexp serve`` through OpenAI's chat API, ``lwexp chat`` in the terminal.

Reads messages and a model folder; writes text only, while it is generated. Answers that are written at the same time
share the model's steps. Never touches a run's files.
"""
