"""Change intermediates of a forward pass, and see what follows from it.

    from minibert.intervening import averaged, patched, scaled
    minibert.intervene(model, batch, {"blocks.3.attention.context": scaled(0.0, heads=[1])})      # a head off
    minibert.intervene(model, batch, {"blocks.2.feed_forward.output": averaged(batch.attention_mask)})
    other = minibert.trace(model, other_batch)
    minibert.intervene(model, batch, {"blocks.2": patched(other["blocks.2"], positions=[5])})     # a token's state

A change is any function of the tensor with that name in `minibert.trace`; it returns a tensor of the same shape. The
three here are those of the papers: a head or sublayer scaled, or switched off with 0 (Michel et al. 2019, arXiv
1905.10650, section 2.3); replaced by its mean (Wang et al. 2022, "Interpretability in the Wild", arXiv 2211.00593,
section 2.1); and activation patching, a state of another text put in its place (Meng et al. 2022, arXiv 2202.05262,
section 2.1).
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from minibert.errors import InputError, did_you_mean
from minibert.heads import Model
from minibert.model import Bert, DotProductAttention, visible_keys
from minibert.tokenizer import Batch
from minibert.tracing import INPUT_NAMES, MODEL_INPUTS, UNNAMED, Record, trace

Change = Callable[[Tensor], Tensor]  # an intermediate -> what takes its place, of the same shape

ARGUMENTS = {"query": 0, "key": 1, "value": 2, "context": None}  # of DotProductAttention; its output is the context


def intervene(
    model: Model,
    batch: Batch,
    changes: Mapping[str, Change | Sequence[Change]],
    *,
    masked_positions: Tensor | None = None,
) -> Record:
    """Return every intermediate of `model` on `batch` with some of them changed, and those after them as they follow.

    changes: name -> a change, or several in turn. The names are those of `minibert.trace` except the probabilities;
    masked_positions: as for `trace`.

    Raises InputError as `trace` does, or if the model computes no intermediate of a name, a change returns another
    shape, or there are no such heads or positions.
    """
    with changing(model, changes):
        return trace(model, batch, masked_positions=masked_positions)


@contextlib.contextmanager
def changing(model: Model, changes: Mapping[str, Change | Sequence[Change]]) -> Iterator[None]:
    """Make the changes in every forward pass that is run inside. Nothing stays on the modules.

    Raises InputError as `intervene` does; at the end, if a name belongs to a module that was not called.
    """
    there, made = places(model), set[str]()
    with contextlib.ExitStack() as stack:
        for name, given in changes.items():
            if name not in there:
                raise InputError(
                    f"{name}: expected the name of an intermediate that can be changed{did_you_mean(name, there)}"
                )
            steps = [given] if callable(given) else list(given)
            stack.callback(register(there[name], name, steps, made).remove)
        yield
    if missing := changes.keys() - made:
        raise InputError(f"{min(missing)}: not computed in this forward pass, so it can't be changed")


class Place(NamedTuple):
    """Where an intermediate passes by: as the output of a module's call, or as one of its arguments."""

    module: nn.Module
    argument: int | None  # None: the output
    call: int  # which call of the module in a forward pass, from 0
    calls: int  # how many there are in each pass


def places(model: Model) -> dict[str, Place]:
    """Return where each intermediate can be changed, by its name in `minibert.trace`; probabilities are not there."""
    found: dict[str, Place] = {}
    for full_name, module in model.named_modules(remove_duplicate=False):
        name = full_name.removeprefix("encoder.")
        owner, _, last = name.rpartition(".")
        call, calls = 0, 1
        if model.config.share_layers and name.startswith("blocks."):  # one module, which is called for each layer
            call, calls = int(name.split(".")[1]), model.config.num_hidden_layers
        if isinstance(module, DotProductAttention):
            of = f"{owner}.{last.removesuffix('dot_product')}"  # "global_", in a Longformer's second one
            found |= {f"{of}{part}": Place(module, at, call, calls) for part, at in ARGUMENTS.items()}
            continue
        for end, input_name in INPUT_NAMES.items():
            if name.endswith(end):
                found[name.removesuffix(end) + input_name] = Place(module, 0, call, calls)
        if last not in UNNAMED:
            found[name] = Place(module, None, call, calls)
    return found


def register(place: Place, name: str, steps: Sequence[Change], made: set[str]) -> Any:
    """Attach a hook that makes the changes at the place, and adds the name to `made`; return its handle."""
    earlier = itertools.count()

    def changed(value: Tensor) -> Tensor:
        made.add(name)
        for step in steps:
            before, value = value, step(value)
            if value.shape != before.shape:
                raise InputError(
                    f"{name}: the change returned the shape {tuple(value.shape)}, expected {tuple(before.shape)}"
                )
        return value

    def on_input(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        if next(earlier) % place.calls != place.call:
            return inputs
        at = place.argument
        return tuple(changed(value) if number == at else value for number, value in enumerate(inputs))

    def on_output(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        return changed(output) if next(earlier) % place.calls == place.call else output

    if place.argument is None:
        return place.module.register_forward_hook(on_output)
    return place.module.register_forward_pre_hook(on_input)


def scaled(factor: float, *, heads: Sequence[int] | None = None, positions: Sequence[int] | None = None) -> Change:
    """Return the change that multiplies by a factor; 0 switches off.

    heads: only these, of an intermediate of the shape (B, N, T, D); positions: only these tokens; None: all.
    """
    return only(lambda value: value * factor, heads, positions)


def averaged(
    attention_mask: Tensor, *, heads: Sequence[int] | None = None, positions: Sequence[int] | None = None
) -> Change:
    """Return the change that replaces each token's vector by the mean over the real tokens of its text (over all, if it
    has none).

    attention_mask: (B, T), the batch's; heads, positions: as in `scaled`.
    """
    real = visible_keys(attention_mask > 0)[:, 0, 0]  # (B, T)

    def mean(value: Tensor) -> Tensor:
        weights = (real[:, None] if value.ndim == 4 else real)[..., None].to(value.dtype)  # (B, T, 1) or (B, 1, T, 1)
        return ((value * weights).sum(-2, keepdim=True) / weights.sum(-2, keepdim=True)).expand_as(value)

    return only(mean, heads, positions)


def patched(other: Tensor, *, heads: Sequence[int] | None = None, positions: Sequence[int] | None = None) -> Change:
    """Return the change that puts another tensor in place, such as the one of the same name from another text's trace.

    other: of a shape that broadcasts to the intermediate's; heads, positions: as in `scaled`.
    """
    return only(lambda value: other.to(value).expand_as(value), heads, positions)


def only(change: Change, heads: Sequence[int] | None, positions: Sequence[int] | None) -> Change:
    """Return a change that leaves all other heads and positions as they are."""

    def chosen(value: Tensor) -> Tensor:
        here = picked(positions, value.size(-2), "position")[:, None]  # (T, 1)
        if heads is not None:
            if value.ndim != 4:
                raise InputError(f"heads {list(heads)}: an intermediate of {tuple(value.shape)} is not of each head")
            here = here & picked(heads, value.size(1), "head")[:, None, None]  # (N, T, 1)
        return torch.where(here.to(value.device), change(value), value)

    return chosen


def picked(numbers: Sequence[int] | None, count: int, kind: str) -> Tensor:
    """Return which of `count` the numbers are, (count,) bool; None: all. Raises InputError if one is out of range."""
    numbers = range(count) if numbers is None else numbers
    for number in numbers:
        if not 0 <= number < count:
            raise InputError(f"{kind} {number}: expected a number from 0 to {count - 1}")
    return torch.tensor([number in numbers for number in range(count)])


def states_of_copies(encoder: Bert, batch: Batch, rows: int) -> Tensor:
    """Return the last block's output, (rows, T, H), for a batch of one repeated, so that a change can differ by row."""
    return encoder(**{name: getattr(batch, name).expand(rows, -1) for name in MODEL_INPUTS})
