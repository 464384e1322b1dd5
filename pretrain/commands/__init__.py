"""The commands of `python -m pretrain` besides training."""
