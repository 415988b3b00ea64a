"""sample: a model answers the prompts of a bench; every answer is stored under its id as soon as it arrives.

Reads prompts, and the folder that a training run exported, a server, or a file of answers. Writes one file of
responses. Never touches scores, training data, or the config's chat format: the saved tokenizer knows its own. torch
is imported only if an answer is missing.
"""
