"""The same batches through the reference implementation and ours, compared value by value, down to every gradient.

Both run on seeded batches of ragged lengths and both segments, padded right, left and not at all, without dropout.
What is compared, how nearly the two must agree and why: docs/verification.md. The reference is transformers, imported
only here, inside the function that loads it.
"""

from __future__ import annotations

import math
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
from minibert.training.room import out_of_memory
from weights_convert.causes import Divergence, likely_cause, weights_not_reached
from weights_convert.comparison import Row, differences, judged, judged_by_cost, weight_rows, worst
from weights_convert.config_map import described_config, read_config
from weights_convert.convert import read_hf
from weights_convert.families import ENCODERS, Family
from weights_convert.hub import directory_named
from weights_convert.report import Report
from weights_convert.runs import (
    ReferenceModel,
    our_loss,
    our_parameters,
    reference_loss,
    reference_parameters,
    run_ours,
    run_reference,
    weights_of,
)
from weights_convert.samples import PADDINGS, Sample, draw_sample
from weights_convert.sentence_files import encoder_directory

Format = Literal["float32", "float64", "bfloat16"]
DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
}


def verify(
    hf_directory: str | Path,
    model_directory: str | Path | None = None,
    *,
    dtype: Format = "float32",
    steps: int = 0,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> Report:
    """Compares a Hugging Face directory, run by the reference, with a model directory, run by us.

    Without `model_directory`, with the same Hugging Face directory, converted as `from-hf` does. `steps` also trains
    both for so many AdamW steps on the same batches. device: "cpu", "cuda", "auto" or a `torch.device`. The report's
    `agrees` is the verdict, its `lines()` are the table that the command prints.

    Raises:
        InputError: a directory that can't be read by its side, two models that can't be compared, transformers
            missing, `steps` with bfloat16.
    """
    if steps and dtype == "bfloat16":
        raise InputError("--steps needs float32 or float64: in bfloat16 the two runs drift apart by rounding alone")
    chosen = choose_device(device)
    hf = encoder_directory(directory_named(hf_directory))
    model = accelerate(read_hf(hf).model if model_directory is None else checkpoint.load(model_directory)[0])
    described, ours = read_config(hf / "config.json"), type(model).__name__
    if described.reference_class not in (None, described.family.class_named(ours)):
        raise InputError(f"{hf} holds a {described.reference_class}, {model_directory} a {ours}: nothing to compare")
    model.to(chosen, DTYPES[dtype])

    def load(as_dtype: torch.dtype) -> ReferenceModel:
        return load_reference(hf, described.family, model, as_dtype).to(chosen)

    rows, cause = compare(model, load, dtype=dtype, seed=seed)
    return Report(
        reference=str(hf_directory),
        model=str(model_directory or f"{hf_directory}, converted"),
        architecture=type(model).__name__,
        dtype=dtype,
        seed=seed,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        rows=rows,
        cause=cause,
        losses=train_both(model, load(DTYPES[dtype]), steps=steps, seed=seed) if steps else [],
    )


# --- The reference ---------------------------------------------------------------------------------------------------


def load_reference(directory: Path, family: Family, model: Model, dtype: torch.dtype) -> ReferenceModel:
    """The reference's model of the family's class for `model`, in evaluation mode, its attention written out so that
    it shows its probabilities. An encoder has a pooler where the directory has weights for one.

    Raises:
        InputError: transformers is not installed, does not load the directory, or does not find all weights there.
    """
    try:
        import transformers
    except ImportError:
        raise InputError("verify runs transformers as the reference: make venv in minibert's checkout") from None
    reference_class = getattr(transformers, family.reference_class(type(model).__name__))
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        reference, missing = _from_pretrained(reference_class, directory, dtype)
        is_encoder = type(model).__name__ in ENCODERS
        if is_encoder and missing and all(key.startswith("pooler.") for key in missing):
            reference, missing = _from_pretrained(reference_class, directory, dtype, add_pooling_layer=False)
    except Exception as error:  # whatever it dislikes: the files are not ours to judge
        if ending := out_of_memory(error):
            raise ending from error
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{directory}: the reference does not load it ({reason})") from error
    finally:
        transformers.logging.set_verbosity(verbosity)
        transformers.logging.enable_progress_bar()
    if missing:
        raise InputError(f"{directory}: the reference finds no {', '.join(missing)}")
    return reference.eval()


def _from_pretrained(
    reference_class: ReferenceModel, directory: Path, dtype: torch.dtype, **options: bool
) -> tuple[ReferenceModel, list[str]]:
    """The model, and the keys that it did not find."""
    reference, loading = reference_class.from_pretrained(
        directory,
        dtype=dtype,
        attn_implementation="eager",
        local_files_only=True,
        output_loading_info=True,
        **options,
    )
    return reference, sorted(loading["missing_keys"])


def check_comparable(model: Model, reference: ReferenceModel) -> None:
    """
    Raises:
        InputError: the two differ in a size that every value has, or answer to different numbers of labels.
    """
    sizes = {"hidden_size": (model.config.hidden_size, reference.config.hidden_size)}
    if (labels := getattr(model, "labels", None)) is not None:
        sizes["labels"] = (len(labels), reference.config.num_labels)
    for name, (ours, theirs) in sizes.items():
        if ours != theirs:
            raise InputError(f"{name}: {ours} in ours, {theirs} in the reference: nothing to compare")


# --- Comparing -------------------------------------------------------------------------------------------------------


def compare(
    model: Model, load: Callable[[torch.dtype], ReferenceModel], *, dtype: str, seed: int = 0
) -> tuple[list[Row], str | None]:
    """The rows of the table, and the likely cause of the first that differs.

    `load` gives the reference's model in a number format. With bfloat16 the truth is the reference in float32.

    Raises:
        InputError: as `check_comparable`.
    """
    reference = load(DTYPES[dtype])
    check_comparable(model, reference)
    truth = load(torch.float32) if dtype == "bfloat16" else None
    tables: list[list[Row]] = []
    first, cause = math.inf, None
    samples = draw_samples(model, reference, seed)
    for sample in tqdm(samples, desc="comparing", unit="batch", leave=False, disable=None):
        rows, diverge = compare_on(sample, model, reference, truth, dtype=dtype)
        tables.append(rows)
        if diverge is not None and diverge[0] < first:
            first, cause = diverge
    weights, wanted = weights_of(our_parameters(model)), weights_of(reference_parameters(reference, model))
    compared = weight_rows(weights, wanted)
    if first == math.inf and (row := next((row for row in compared if not row.agrees), None)):
        cause = weights_not_reached(row.name, weights.get(row.name), wanted.get(row.name))
    return [worst(list(rows)) for rows in zip(*tables, strict=True)] + compared, cause


def compare_on(
    sample: Sample, model: Model, reference: ReferenceModel, truth: ReferenceModel | None, *, dtype: str
) -> tuple[list[Row], tuple[int, str | None] | None]:
    """The rows of one sample; the number of the first that differs and its likely cause, None where all agree."""
    ours, theirs = run_ours(model, sample), run_reference(reference, model, sample)
    if truth is None:
        rows = judged(differences(ours, theirs, sample), dtype)
    else:
        exact = run_reference(truth, model, sample.to(sample.input_ids.device, torch.float32))
        rows = judged_by_cost(differences(ours, exact, sample), differences(theirs, exact, sample))
    for number, row in enumerate(rows):
        if not row.agrees:
            return rows, (number, likely_cause(Divergence(row.kind, row.name, sample, ours, theirs, model, reference)))
    return rows, None


def draw_samples(model: Model, reference: ReferenceModel, seed: int) -> list[Sample]:
    """One batch for each way of padding, on the model's device and in its number format."""
    limits, parameter = shared_limits(model, reference), next(model.parameters())
    samples = [draw_sample(model, limits, padding, seed=seed + i) for i, padding in enumerate(PADDINGS)]
    return [sample.to(parameter.device, parameter.dtype) for sample in samples]


def shared_limits(model: Model, reference: ReferenceModel) -> BertConfig:
    """Our config with the sizes of tokens and segments that both sides have, and the positions that tokens have."""
    ours, theirs = model.config, described_config(reference.config)
    shared = {name: min(getattr(ours, name), getattr(theirs, name)) for name in ("vocab_size", "type_vocab_size")}
    longest = min(ours.longest, theirs.longest)
    return ours.replace(**shared, max_position_embeddings=longest, positions_skip_padding=False)


# --- Training both ---------------------------------------------------------------------------------------------------


def train_both(model: Model, reference: ReferenceModel, *, steps: int, seed: int = 0) -> list[tuple[float, float]]:
    """The losses of ours and of the reference over `steps` AdamW steps without dropout, the batches taken in turn.

    Both models are changed. eps is the paper's 1e-6: with a smaller one, a gradient that is nothing but rounding (that
    of a key's bias) would be scaled up to a step of full size. The rate, too, keeps rounding what it is: at 1e-4 and
    without a warm-up a fresh model of base's shape is so unsteady that one weight's last bit grows to 1e-8 of loss.
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
