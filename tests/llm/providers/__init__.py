"""Providers as they really behave: a loopback server whose behaviour is the part of the model's name behind "b-"."""
