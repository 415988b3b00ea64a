"""Devices and ranks: trainer, ZeRO strategy, optimiser, synchronisation."""
