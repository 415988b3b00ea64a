"""pages: what all HTML pages of lwexp share; the contents of a page come from its own room.

Reads its own templates, style sheet and script. Writes one HTML file at a time, and its texts in a folder beside it if
they are many. Never touches runs, models or the network.
"""
