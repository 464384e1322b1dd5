"""The same batches through the reference implementation and ours, compared value by value, down to every gradient.

Both run on seeded batches of ragged lengths and both segments, padded right, left and not at all, without dropout.
What is compared, how nearly the two must agree and why: docs/verification.md. The reference is transformers, imported
only here, inside the function that loads it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from tqdm import tqdm

from minibert import checkpoint
from minibert.config import BertConfig
from minibert.errors import InputError
from minibert.heads import Model
from minibert.model import Bert
from weights_convert.causes import Divergence, at_real_tokens, likely_cause
from weights_convert.config_map import read_config, reference_class_of
from weights_convert.convert import read_hf
from weights_convert.hub import directory_named
from weights_convert.runs import ReferenceModel, Run, our_loss, reference_loss, run_ours, run_reference
from weights_convert.samples import PADDINGS, ROWS, Sample, draw_sample

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}


# --- How nearly both must agree --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tolerance:
    """The largest differences that count as rounding. For bfloat16 see `bfloat16_tolerance`."""

    hidden: float  # of hidden states, whose entries are about 1
    value: float  # of other values, as a share of the value's largest entry where that is over 1
    gradient: float  # as a share of the model's largest gradient entry
    loss: float  # of the losses while both are trained


TOLERANCES = {
    "float64": Tolerance(hidden=1e-10, value=1e-10, gradient=1e-9, loss=1e-8),
    "float32": Tolerance(hidden=2e-5, value=2e-5, gradient=1e-3, loss=1e-3),
}
BFLOAT16_STEP = 2.0**-8  # from one bfloat16 number to the next, as a share of it


@dataclass(frozen=True)
class Row:
    """One value on all samples: how far ours is from the reference's."""

    name: str
    max: float  # the largest difference of an entry; infinite where a value is missing or has another shape
    mean: float  # of all entries
    relative: float  # max as a share of the reference's largest entry; for gradients, of the model's largest gradient
    tolerance: float  # of max; with bfloat16, of mean
    agrees: bool
    note: str = ""


@dataclass(frozen=True)
class Report:
    """What `verify` found."""

    reference: str
    model: str
    architecture: str
    dtype: str
    seed: int
    parameters: int
    rows: list[Row]
    cause: str | None  # of the first row that differs
    losses: list[tuple[float, float]] = field(default_factory=list)  # of ours and the reference, step by step

    @property
    def first_divergent(self) -> Row | None:
        """The first row, in the order of the computation, that does not agree."""
        return next((row for row in self.rows if not row.agrees), None)

    @property
    def loss_difference(self) -> float:
        """The largest difference of the two losses while both were trained."""
        return max((_largest(abs(ours - theirs)) for ours, theirs in self.losses), default=0.0)

    @property
    def agrees(self) -> bool:
        """Whether every row, and every step where steps were asked for, agrees."""
        steps_agree = not self.losses or self.loss_difference <= TOLERANCES[self.dtype].loss
        return self.first_divergent is None and steps_agree

    def to_json(self) -> dict[str, Any]:
        """Everything, for a file. JSON has no infinity: it becomes null."""
        first = self.first_divergent
        return {
            "agrees": self.agrees,
            "reference": self.reference,
            "model": self.model,
            "architecture": self.architecture,
            "dtype": self.dtype,
            "seed": self.seed,
            "parameters": self.parameters,
            "first_divergent": first and first.name,
            "cause": self.cause,
            "rows": [
                {key: _finite(value) if isinstance(value, float) else value for key, value in vars(row).items()}
                for row in self.rows
            ],
            "steps": [{"ours": _finite(ours), "reference": _finite(theirs)} for ours, theirs in self.losses],
        }

    def lines(self) -> Iterator[str]:
        """The table and the verdict."""
        yield f"reference: {self.reference} (transformers)"
        yield f"model:     {self.model}, a {self.architecture} of {self.parameters:,} parameters, in {self.dtype}"
        yield f"batches:   {len(PADDINGS)} of {ROWS} sequences, padded {', '.join(PADDINGS)}\n"
        width = max(len(row.name) for row in self.rows)
        measured = "mean" if self.dtype == "bfloat16" else "max"
        yield f"{'value':{width}}  {'max':>9}  {'mean':>9}  {'relative':>9}  {f'{measured} allowed':>12}"
        for row in self.rows:
            numbers = "  ".join(f"{number:9.2e}" for number in (row.max, row.mean, row.relative))
            mark = "" if row.agrees else "  <-- differs first" if row == self.first_divergent else "  differs"
            yield f"{row.name:{width}}  {numbers}  {row.tolerance:12.2e}{mark}{row.note and f': {row.note}'}"
        yield ""
        if self.losses:
            yield (
                f"{len(self.losses)} AdamW steps on the same batches: losses from {self.losses[0][1]:.6f} to "
                f"{self.losses[-1][1]:.6f}, at most {self.loss_difference:.2e} apart "
                f"(allowed {TOLERANCES[self.dtype].loss:.0e})"
            )
        differing = sum(not row.agrees for row in self.rows)
        if first := self.first_divergent:
            yield f"{differing} of {len(self.rows)} values differ in {self.dtype}; the first is {first.name}"
            yield f"likely cause: {self.cause or 'none of those that are known fits'}"
        else:
            yield f"all {len(self.rows)} values agree in {self.dtype}"


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _largest(number: float) -> float:
    """NaN, which compares with nothing, counts as the largest difference there is."""
    return math.inf if math.isnan(number) else number


# --- Both sides ------------------------------------------------------------------------------------------------------


def verify(
    hf_directory: str | Path,
    model_directory: str | Path | None = None,
    *,
    dtype: Literal["float32", "float64", "bfloat16"] = "float32",
    steps: int = 0,
    seed: int = 0,
    device: torch.device | None = None,
) -> Report:
    """Compares a Hugging Face directory, run by the reference, with a model directory, run by us.

    Without `model_directory`, with the same Hugging Face directory, converted as `from-hf` does. `steps` also trains
    both for so many AdamW steps on the same batches.

    Raises:
        InputError: a directory that can't be read by its side, two directories of different classes, transformers
            missing, `steps` with bfloat16.
    """
    if steps and dtype == "bfloat16":
        raise InputError("--steps needs float32 or float64: in bfloat16 the two runs drift apart by rounding alone")
    hf = directory_named(hf_directory)
    model = read_hf(hf).model if model_directory is None else checkpoint.load(model_directory)[0]
    described = read_config(hf / "config.json").reference_class
    if described not in (None, reference_class_of(model)):
        raise InputError(f"{hf} holds a {described}, {model_directory} a {type(model).__name__}: nothing to compare")
    device = device or torch.device("cpu")

    def load(dtype: torch.dtype) -> ReferenceModel:
        return load_reference(hf, model, dtype).to(device)

    model.to(device, DTYPES[dtype])
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


def load_reference(directory: Path, model: Model, dtype: torch.dtype) -> ReferenceModel:
    """The reference's model of the class of `model`, in evaluation mode, its attention written out so that it shows
    its probabilities.

    Raises:
        InputError: transformers is not installed, or does not find all its weights in the directory.
    """
    try:
        import transformers
    except ImportError:
        raise InputError("verify runs transformers as the reference: pip install 'minibert[dev]'") from None
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    options = {"add_pooling_layer": False} if isinstance(model, Bert) else {}
    try:
        reference, loading = getattr(transformers, reference_class_of(model)).from_pretrained(
            directory,
            dtype=dtype,
            attn_implementation="eager",
            local_files_only=True,
            output_loading_info=True,
            **options,
        )
    except Exception as error:  # whatever it dislikes: the files are not ours to judge
        raise InputError(f"{directory}: the reference does not load it ({str(error).partition(chr(10))[0]})") from error
    if loading["missing_keys"]:
        raise InputError(f"{directory}: the reference finds no {', '.join(sorted(loading['missing_keys']))}")
    return reference.eval()


def shared_limits(model: Model, reference: ReferenceModel) -> BertConfig:
    """Our config with the sizes of tokens, segments and positions that both sides have."""
    names = ("vocab_size", "type_vocab_size", "max_position_embeddings")
    ours, theirs = model.config, reference.config
    return ours.replace(**{name: min(getattr(ours, name), getattr(theirs, name)) for name in names})


def draw_samples(model: Model, reference: ReferenceModel, seed: int) -> list[Sample]:
    """One batch for each way of padding."""
    limits, parameter = shared_limits(model, reference), next(model.parameters())
    samples = [draw_sample(model, limits, padding, seed=seed + i) for i, padding in enumerate(PADDINGS)]
    return [sample.to(parameter.device, parameter.dtype) for sample in samples]


# --- Comparing -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """How far one value of one sample is from the reference's."""

    max: float
    mean: float
    entries: int
    scale: float  # the reference's largest entry; for a gradient, the model's largest
    spread: float  # the mean of the reference's entries, without their signs
    note: str = ""


def compare(
    model: Model, load: Callable[[torch.dtype], ReferenceModel], *, dtype: str, seed: int = 0
) -> tuple[list[Row], str | None]:
    """The rows of the table, and the likely cause of the first that differs.

    `load` gives the reference's model in a number format. With bfloat16 the truth is the reference in float32.
    """
    reference = load(DTYPES[dtype])
    truth = load(torch.float32) if dtype == "bfloat16" else reference
    tables: list[list[Row]] = []
    first, cause = math.inf, None
    samples = draw_samples(model, reference, seed)
    for sample in tqdm(samples, desc="comparing", unit="batch", leave=False, disable=None):
        ours, theirs = run_ours(model, sample), run_reference(reference, model, sample)
        if truth is reference:
            rows = [_row(name, found, dtype) for name, found in differences(ours, theirs, sample).items()]
        else:
            exact = run_reference(truth, model, sample.to(sample.input_ids.device, torch.float32))
            cost = differences(theirs, exact, sample)
            rows = [_bfloat16_row(name, found, cost[name]) for name, found in differences(ours, exact, sample).items()]
        tables.append(rows)
        place = next((number for number, row in enumerate(rows) if not row.agrees), math.inf)
        if place < first:
            first = place
            cause = likely_cause(Divergence(rows[int(place)].name, sample, ours, theirs, model, reference))
    return [_over_samples(list(rows)) for rows in zip(*tables, strict=True)], cause


def differences(ours: Run, theirs: Run, sample: Sample) -> dict[str, Difference]:
    """Every value of the reference's, in the order of the computation, then the gradient of every parameter."""
    found = {}
    for name, value in theirs.values.items():
        our_value = ours.values.get(name)
        found[name] = _difference(
            None if our_value is None else at_real_tokens(name, our_value, sample), at_real_tokens(name, value, sample)
        )
    largest = max(float(gradient.abs().max()) for gradient in theirs.gradients.values())
    for name, gradient in theirs.gradients.items():
        found[f"gradient of {name}"] = _difference(ours.gradients.get(name), gradient, scale=largest)
    return found


def _difference(ours: Tensor | None, theirs: Tensor, scale: float | None = None) -> Difference:
    largest, mean, note = math.inf, math.inf, ""
    if ours is None:
        note = "not in ours"
    elif ours.shape != theirs.shape:
        note = f"{tuple(ours.shape)} against {tuple(theirs.shape)}"
    else:
        apart = (ours.double() - theirs.double()).abs()
        largest, mean = _largest(float(apart.max())), _largest(float(apart.mean()))
    return Difference(
        max=largest,
        mean=mean,
        entries=theirs.numel(),
        scale=float(theirs.abs().max()) if scale is None else scale,
        spread=float(theirs.abs().double().mean()),
        note=note,
    )


def _row(name: str, found: Difference, dtype: str) -> Row:
    """The verdict on one value in float64 or float32."""
    tolerance = TOLERANCES[dtype]
    if name.startswith("gradient of "):
        allowed = tolerance.gradient * found.scale
    elif is_hidden_state(name) or dtype == "float64":
        allowed = tolerance.hidden
    else:
        allowed = tolerance.value * max(1.0, found.scale)
    return _verdict(name, found, allowed, agrees=found.max <= allowed)


def is_hidden_state(name: str) -> bool:
    """Whether a value is what one layer hands to the next: the output of a LayerNorm of the encoder."""
    return re.fullmatch(r"embeddings(\.norm)?|blocks\.\d+(\.\w+_norm)?", name) is not None


def _bfloat16_row(name: str, found: Difference, cost: Difference) -> Row:
    """The verdict on one value in bfloat16: ours may be as far from the truth as the reference itself is in bfloat16.

    Both round the same computation in another order, so their mean errors are estimates of one number, each from n
    entries: hence twice the reference's, and more where entries are few. Under one step of bfloat16 nothing can be
    told: of the value's own entries, and for a gradient of the model's largest, since some gradients (that of a key's
    bias) are sums of which nothing remains but rounding.
    """
    few = 4 / math.sqrt(found.entries)
    allowed = 2 * (1 + few) * max(cost.mean, BFLOAT16_STEP * found.spread)
    if name.startswith("gradient of "):
        allowed += few * BFLOAT16_STEP * found.scale
    return _verdict(name, found, allowed, agrees=found.mean <= allowed)


def _verdict(name: str, found: Difference, allowed: float, *, agrees: bool) -> Row:
    relative = found.max / found.scale if found.scale else (math.inf if found.max else 0.0)
    return Row(name, found.max, found.mean, relative, allowed, agrees, found.note)


def _over_samples(rows: list[Row]) -> Row:
    """One row for a value on all samples: the worst of each figure, and the tolerance where it was nearest."""
    nearest = max(rows, key=lambda row: (not row.agrees, row.max))
    return Row(
        name=nearest.name,
        max=max(row.max for row in rows),
        mean=sum(row.mean for row in rows) / len(rows),
        relative=max(row.relative for row in rows),
        tolerance=nearest.tolerance,
        agrees=all(row.agrees for row in rows),
        note=nearest.note,
    )


# --- Training both ---------------------------------------------------------------------------------------------------


def train_both(model: Model, reference: ReferenceModel, *, steps: int, seed: int = 0) -> list[tuple[float, float]]:
    """The losses of ours and of the reference over `steps` AdamW steps without dropout, the batches taken in turn.

    Both models are changed. eps is the paper's 1e-6: with a smaller one, a gradient that is nothing but rounding (that
    of a key's bias) would be scaled up to a step of full size.
    """
    samples = draw_samples(model, reference, seed)
    optimizers = [
        torch.optim.AdamW(side.parameters(), lr=1e-4, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.01)
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
