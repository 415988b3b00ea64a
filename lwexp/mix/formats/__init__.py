"""Row formats that lwexp knows, one per file.

Source: TRL docs/source/dataset_formats.md and LLaMA-Factory data/README.md.
"""
