"""Overrides of the command line: what they mean, and which of them are refused."""
