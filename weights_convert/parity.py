"""The same batches through the reference and through minibert, compared value by value, down to every gradient.

docs/verification.md says what is compared, how closely the two must agree, and why.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from tqdm import tqdm

from minibert import checkpoint
from minibert.config import BertConfig
from minibert.errors import InputError
from minibert.fast import accelerate
from minibert.heads import Model
from minibert.training.device import choose_device
from minibert.verification.comparison import compare_runs
from minibert.verification.differences import Row
from minibert.verification.report import Report
from minibert.verification.runs import our_loss, run_ours
from minibert.verification.samples import Sample, batch_shape, draw_sample, layouts
from weights_convert.config_map import check_windows, described_config, read_config
from weights_convert.convert import read_hf
from weights_convert.hub import directory_named
from weights_convert.reference import ReferenceModel, load_reference, reference_loss, run_reference
from weights_convert.sentence_files import encoder_directory

Format = Literal["float32", "float64", "bfloat16"]


def verify(
    hf_directory: str | Path,
    model_directory: str | Path | None = None,
    *,
    dtype: Format = "float32",
    steps: int = 0,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> Report:
    """Compare a Hugging Face directory, run by the reference, with a model directory, run by minibert.

    Without `model_directory`, the Hugging Face directory is converted as `from-hf` does. `steps` also trains both for
    that many AdamW steps on the same batches. device: "cpu", "cuda", "auto" or a `torch.device`. The report's `agrees`
    is the verdict, its `lines()` are the table that the command prints.

    Raises InputError if a directory can't be read, the two models can't be compared, transformers is not installed, or
    `steps` is given with bfloat16.
    """
    if steps and dtype == "bfloat16":
        raise InputError("--steps needs float32 or float64: in bfloat16 the two runs drift apart by rounding alone")
    chosen = choose_device(device)
    hf = encoder_directory(directory_named(hf_directory))
    model = accelerate(read_hf(hf).model if model_directory is None else checkpoint.load(model_directory)[0])
    described, ours = read_config(hf / "config.json"), type(model).__name__
    if described.reference_class not in (None, described.family.class_named(ours)):
        classes = f"{hf} holds the class {described.reference_class}, {model_directory} the class {ours}"
        raise InputError(f"{classes}, so they cannot be compared")
    model.to(chosen, getattr(torch, dtype))

    def load(as_dtype: torch.dtype) -> ReferenceModel:
        return load_reference(hf, described.family, model, as_dtype).to(chosen)

    rows, cause = compare(model, load, dtype=dtype, seed=seed)
    common = in_common(model.config, described.config)
    return Report(
        reference=str(hf_directory),
        implementation="transformers",
        model=str(model_directory or f"{hf_directory}, converted"),
        architecture=ours,
        dtype=dtype,
        seed=seed,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        rows=rows,
        cause=cause,
        layouts=layouts(model, common),
        sequences=batch_shape(common)[0],
        losses=train_both(model, load(getattr(torch, dtype)), steps=steps, seed=seed) if steps else [],
    )


def compare(
    model: Model, load: Callable[[torch.dtype], ReferenceModel], *, dtype: Format, seed: int = 0
) -> tuple[list[Row], str | None]:
    """Return the rows of the table, and the likely cause of the first that differs.

    `load` gives the reference's model in a number format. With bfloat16 the truth is the reference in float32.

    Raises InputError as `check_comparable` does.
    """
    reference = load(getattr(torch, dtype))
    check_comparable(model, reference)
    truth = load(torch.float32) if dtype == "bfloat16" else None
    return compare_runs(
        tqdm(draw_samples(model, reference, seed), desc="comparing", unit="batch", leave=False, disable=None),
        lambda sample: run_ours(model, sample),
        lambda sample: run_reference(reference, model, sample),
        truth and (lambda sample: run_reference(truth, model, sample.to(sample.real.device, torch.float32))),
        dtype=dtype,
    )


def check_comparable(model: Model, reference: ReferenceModel) -> None:
    """Check the sizes of every value. Raises InputError if hidden sizes or numbers of labels differ, only one of the
    two has attention windows, or the reference can't run with its own at every length.
    """
    ours, theirs = model.config, described_config(reference.config)
    sizes: dict[str, tuple[object, object]] = {"hidden_size": (ours.hidden_size, theirs.hidden_size)}
    if None in (windows := (ours.attention_window, theirs.attention_window)):
        sizes["attention_window"] = windows
    if (labels := getattr(model, "labels", None)) is not None:
        sizes["labels"] = (len(labels), reference.config.num_labels)
    for name, (mine, wanted) in sizes.items():
        if mine != wanted:
            raise InputError(f"{name}: {mine} in minibert, {wanted} in the reference, so they cannot be compared")
    check_windows(theirs)


def draw_samples(model: Model, reference: ReferenceModel, seed: int) -> list[Sample]:
    """Draw one batch for each layout, with tokens, segments and positions that both sides have, on the model's device
    and in its number format."""
    limits, parameter = in_common(model.config, described_config(reference.config)), next(model.parameters())
    samples = [draw_sample(model, limits, layout, seed=seed + i) for i, layout in enumerate(layouts(model, limits))]
    return [sample.to(parameter.device, parameter.dtype) for sample in samples]


def in_common(ours: BertConfig, theirs: BertConfig) -> BertConfig:
    """Return the tokens, segments, positions and separator that both sides have, with all else as in minibert."""
    return ours.replace(
        vocab_size=min(ours.vocab_size, theirs.vocab_size),
        type_vocab_size=min(ours.type_vocab_size, theirs.type_vocab_size),
        max_position_embeddings=min(ours.longest, theirs.longest),
        positions_skip_padding=False,
        sep_token_id=ours.sep_token_id if ours.sep_token_id == theirs.sep_token_id else None,
    )


def train_both(model: Model, reference: ReferenceModel, *, steps: int, seed: int = 0) -> list[tuple[float, float]]:
    """Train both for `steps` AdamW steps without dropout, the batches taken in turn; return both losses at each step.

    Both models are changed. eps is the paper's 1e-6: with a smaller one, a gradient that is only rounding (that of a
    key's bias) would be scaled up to a full step. The rate is low for the same reason: at 1e-4 without warm-up, a fresh
    model of base's shape is so unstable that one weight's last bit grows to 1e-8 of loss.
    """
    samples = draw_samples(model, reference, seed)
    optimizers = [
        torch.optim.AdamW(side.parameters(), lr=2e-5, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.01, fused=True)
        for side in (model, reference)
    ]
    losses = []
    for step in tqdm(range(steps), desc="training both", unit="step", leave=False, disable=None):
        sample = samples[step % len(samples)]
        both = our_loss(model, sample), reference_loss(reference, model, sample)
        for loss, optimizer in zip(both, optimizers, strict=True):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append((both[0].item(), both[1].item()))
    return losses
