"""Training objectives, one per file. Cheap to import: tensor code is imported when it runs."""

from lwexp.train.objectives import dpo, sft

__all__ = ["dpo", "sft"]
