"""Row formats that lwexp knows, one a file.

Source: TRL docs/source/dataset_formats.md and LLaMA-Factory data/README.md.
"""
