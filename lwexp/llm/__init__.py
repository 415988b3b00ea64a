"""llm: reads messages, returns text or a typed reason why there is none; through litellm, for any model.

Writes one file, the ledger that the caller opens: every answer is stored there before it is used, so nothing is paid
for twice. Never touches the meaning of prompts, rows or run directories. litellm is imported only when a call has to
be sent; the offline teacher and judge are litellm providers too, so they use the same path.
"""
