"""Jobs of trials: processes of this machine, or jobs of SLURM."""
