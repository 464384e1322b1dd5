"""Two implementations of one model, compared value by value on the same batches, and the likely cause of a difference.

Two `runs.Run` are compared: values, weights and gradients by name, whatever computed them. `samples` draws the batches,
`runs` runs minibert's model, `comparison` finds the first value that differs, `causes` says why, `report` prints it.
`python -m weights_convert verify` provides the reference, transformers.
"""
