"""pack: an objective's rows become token arrays, packs and a batch plan.

Reads conversations, preference pairs or rows of a plugin, and a tokenizer; writes one folder of flat arrays, which
``train`` maps into memory, with the report that accounts for every token. Never touches models, devices or the
network (but for fetching a tokenizer by hub id), and never cuts a document short.
"""
