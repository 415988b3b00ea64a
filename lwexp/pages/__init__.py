"""pages: what every HTML page of lwexp is made with, and nothing about what stands in it.

Reads its own templates, style sheet and script. Writes one self-contained HTML file at a time. Never touches runs,
models or the network.
"""
