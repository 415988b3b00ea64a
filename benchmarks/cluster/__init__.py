"""A two-node SLURM on one machine, and what lwexp must do on it: ``make cluster-test``."""
