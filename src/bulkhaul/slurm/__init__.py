"""What SLURM is told and asked: arrays, deadlines, states of tasks."""
