"""llm: reads messages, gives text or a typed reason why there is none; through litellm, whatever the model.

Writes one file, the ledger it is handed: every answer is stored there before it is used, so nothing is paid
for twice. Never touches prompts' meaning, rows or run directories. litellm is imported only when a call
has to be sent; the offline teacher and judge are litellm providers too, so they run down the same path.
"""
