"""pages: what all HTML pages of lwexp share; the contents of a page come from its own room.

Reads its own templates, style sheet and script. Writes one self-contained HTML file at a time. Never touches runs,
models or the network.
"""
