"""Training: optimizers, runs, probes, and the loop that keeps what they measured as a history."""
