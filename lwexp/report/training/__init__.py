"""The page of one training run: its curves."""
