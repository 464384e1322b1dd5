"""One file a task: from examples to features, from a model's answers to predictions and figures."""
