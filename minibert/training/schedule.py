"""The learning rate over a run, as a pure function of the run's progress from 0 (start) to 1 (end)."""


def learning_rate_factor(progress: float, *, warmup_share: float, decay_share: float) -> float:
    """The share of the peak rate: linear from 0 over `warmup_share`, then 1, then linear to 0 over `decay_share`.

    `decay_share = 1 - warmup_share` is the paper's schedule (Devlin et al. 2018, A.2), which decays from the end of the
    warm-up on. If the shares overlap, the lower of the two lines counts. Outside 0 to 1 the factor is 0. Steps use the
    progress at their middle, so it never is 0 or 1, and the first and the last step train too.
    """
    if not 0.0 <= progress <= 1.0:
        return 0.0
    rising = progress / warmup_share if warmup_share > 0 else 1.0
    falling = (1.0 - progress) / decay_share if decay_share > 0 else 1.0
    return min(rising, 1.0, falling)
