"""The report of a sweep: its trials, the answer to its question, its page, study and W&B report."""
