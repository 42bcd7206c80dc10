"""Training on a scheduler: Slurm jobs, requeueing, sweeps."""
