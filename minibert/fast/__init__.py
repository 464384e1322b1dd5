"""What makes the model fast, beside the plain one: the same modules, the same numbers, in less time."""
