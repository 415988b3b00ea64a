"""Formats of answers that other tools write, one per file; each is tested on a small file in that tool's format.

Sources: the tools' own code, at the versions named in each file.
"""
