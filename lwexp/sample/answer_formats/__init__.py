"""Formats of answers that other tools write, one per file; each is held by a test on a small file of that tool's shape.

Sources: the tools' own code, at the versions named in each file.
"""
