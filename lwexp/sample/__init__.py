"""sample: a model answers the prompts of a bench; every answer is kept under its id as soon as it is there.

Reads the bench (a file, a folder, a data set of the hub, or the offline topics), and the folder that a training run
exported, a server, or a file of answers. Writes
one file of responses. Never touches scores, training data, or the config's chat format: the saved tokenizer says
how its model is spoken to. torch is imported when the first answer is missing, not before.
"""
