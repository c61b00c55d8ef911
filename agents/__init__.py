"""What looks and learns: agents, trainers and baselines."""
