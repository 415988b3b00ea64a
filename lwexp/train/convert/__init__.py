"""A GGUF file as an ordinary Hugging Face folder.

Reads one GGUF file. Writes one model folder. Never touches runs.
"""
