"""The training loop and what serves it: batches, schedules, checkpoints, divergence, restarts."""
