"""The commands of `python -m pretrain` beside training."""
