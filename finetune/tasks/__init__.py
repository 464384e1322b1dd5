"""One file per task: from examples to features and batches, from a model's output to predictions and figures."""
