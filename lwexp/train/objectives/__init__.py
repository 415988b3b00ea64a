"""What is trained, an objective a file; cheap to import: their tensor code is imported when it runs."""

from lwexp.train.objectives import dpo, sft

__all__ = ["dpo", "sft"]
