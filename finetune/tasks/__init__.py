"""One file a task: from examples to features and batches, from a model's answers to predictions and figures."""
