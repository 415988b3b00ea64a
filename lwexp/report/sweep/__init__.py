"""A sweep of runs: its trials, what answers its question, and the page, study and W&B report of it."""
