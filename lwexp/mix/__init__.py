"""mix: conversations and preference pairs from many places become one mixture.

Reads runs' conversations.jsonl and pairs.jsonl, and the user's files, folders and hub sets in the formats that
other tools use. Writes conversations.jsonl, conversations.parquet and import_failures.jsonl of an import run; a
mixture itself is returned, not stored. Never touches models, tokenizers, teachers or judges.
"""
