"""pack: an objective's rows become token arrays, packs and a batch plan.

Reads conversations, preference pairs or a plugin's rows, and a tokenizer; writes one folder of flat arrays, which
``train`` maps into memory, with the report that accounts for every token. Never touches models, devices or the
network (except to fetch a tokenizer by hub id), and never cuts a document short.
"""
