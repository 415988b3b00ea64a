"""Answers of a model folder on this machine: decoded in this process, or in several that share the requests."""
