"""Names and shapes of other code bases' checkpoints."""
