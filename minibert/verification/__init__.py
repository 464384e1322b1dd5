"""Two implementations of one model on the same batches, compared value by value, and what is likely wrong.

What is compared are two `runs.Run`: values, weights and gradients by name, whoever computed them. `samples` draws the
batches, `runs` computes ours, `comparison` finds the first value that differs, `causes` says why, `report` prints it.
`python -m weights_convert verify` brings the other side, transformers.
"""
