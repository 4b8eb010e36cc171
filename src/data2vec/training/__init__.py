"""The training loop and what it needs: optimiser, schedules, device, run folder, checkpoints."""
