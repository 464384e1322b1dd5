"""Every intermediate of a forward pass, by name.

    record = minibert.trace(model, tokenizer("The man went to the [MASK] ."))
    record["blocks.3.attention.probabilities"]      # (B, N, T, T)

The model's own forward pass is watched from outside while it runs, and nothing stays on the modules. Names are those of
the modules, without `encoder.`, so that they are the same for every class; "{}" is the number of a block. In the order
in which they are computed:

    embeddings.token, .segment      (B, T, E)       no .segment in DistilBERT
    embeddings.position             (T, E)          RoBERTa's (B, T, E)
    embeddings.sum                  (B, T, E)       of the three, before LayerNorm
    embeddings.norm                 (B, T, E)       after it
    embeddings.projection           (B, T, H)       in ALBERT alone
    embeddings                      (B, T, H)       what the first block is given
    blocks.{}.attention.query, .key, .value    (B, N, T, D)    of each head
    blocks.{}.attention.probabilities          (B, N, T, T)    row q, column k: how much token q looks at token k
    blocks.{}.attention.context     (B, N, T, D)    the values, averaged by the probabilities
    blocks.{}.attention.output      (B, T, H)       what the sublayer adds to the residual stream
    blocks.{}.attention.sum         (B, T, H)       the stream with it, before LayerNorm
    blocks.{}.attention_norm        (B, T, H)
    blocks.{}.feed_forward.inner    (B, T, I)       before the activation; I is `intermediate_size`
    blocks.{}.feed_forward.activation          (B, T, I)
    blocks.{}.feed_forward.output, .sum        (B, T, H)       as for attention
    blocks.{}.feed_forward_norm     (B, T, H)
    blocks.{}                       (B, T, H)       the block's output
    pooler.dense, pooler            (B, H)          before and after tanh
    mlm_head.dense, .activation, .norm         (M, E)          at the chosen positions
    mlm_head.decoder, mlm_head      (M, V)          one and the same
    nsp_head                        (B, 2)
    span_head                       (B, T, 2)
    classifier.dense, classifier    (B, C)          one and the same; for token classification (B, T, C)
"""

from __future__ import annotations

import contextlib
import difflib
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from itertools import count, islice
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from minibert.errors import InputError
from minibert.heads import BertForMaskedLM, BertForMultipleChoice, BertForPreTraining, Model
from minibert.model import DotProductAttention
from minibert.tokenizer import Batch

MODEL_INPUTS = ("input_ids", "token_type_ids", "attention_mask")
# The end of a module's name -> what its input is called: sums and activations, which are no module's output.
INPUT_NAMES = {
    "embeddings.norm": "embeddings.sum",
    "attention_norm": "attention.sum",
    "feed_forward.output": "feed_forward.activation",
    "feed_forward_norm": "feed_forward.sum",
    "mlm_head.norm": "mlm_head.activation",
}
# Modules whose output goes without a name of its own: it is in the parts, or is what the next one is given.
UNNAMED = ("query_key_value", "attention", "feed_forward", "activation", "dropout", "encoder", "")


class Record(dict[str, Tensor]):
    """Name -> tensor, in the order in which they are computed. Printed it tells names and shapes, not the numbers."""

    def __missing__(self, name: str) -> Tensor:
        near = difflib.get_close_matches(name, self, n=1)
        raise KeyError(f"no {name!r}" + "".join(f"; near: {other!r}" for other in near))

    def __repr__(self) -> str:
        shapes = [f"{name} {tuple(tensor.shape)}" for name, tensor in islice(self.items(), 4)]
        return f"Record of {len(self)} tensors: {', '.join(shapes)}{', ...' if len(self) > len(shapes) else ''}"

    def __reduce__(self) -> tuple[Any, ...]:
        """In a file a plain mapping: `torch.load` takes no classes but those that it knows."""
        return OrderedDict, (), None, None, iter(self.items())

    def __copy__(self) -> Record:
        return Record(self)


def trace(model: Model, batch: Batch, *, masked_positions: Tensor | None = None) -> Record:
    """Every intermediate of `model` on `batch`, by the names above, in the order in which they are computed.

    masked_positions: (M,) flat positions b·T + t at which a masked-LM head is asked; None: at every real token, in
    order. A multiple-choice model takes the texts of `batch` as the choices of one question.

    Raises InputError: the model is in training mode; or as the model's `forward`; IndexError: `masked_positions`
    outside the batch.
    """
    check_evaluation(model)
    inputs: dict[str, Tensor] = {name: getattr(batch, name) for name in MODEL_INPUTS}
    if isinstance(model, BertForMultipleChoice):
        inputs = {name: tensor[None] for name, tensor in inputs.items()}
    if isinstance(model, BertForPreTraining | BertForMaskedLM):
        real = batch.attention_mask.flatten().nonzero().flatten()
        inputs["masked_positions"] = real if masked_positions is None else masked_positions
    # Being watched has the last block compute all positions, where a head alone asks for some (see `fast.encoder`).
    with torch.no_grad(), watched(model) as calls:
        model(**inputs)
    return intermediates(model, calls)


class Call(NamedTuple):
    """What a module was given and what it answered, without their history of gradients."""

    name: str  # of the module
    number: int  # of the calls of that name before this one
    inputs: tuple[Any, ...]  # the positional ones
    output: Any  # a tensor, or what the module answers in its place


@contextlib.contextmanager
def watched(model: nn.Module) -> Iterator[list[Call]]:
    """Fills a list with the calls of every module, in the order in which they end.

    Works on any model of PyTorch's. A module that stands at several places, as the block that all of ALBERT's layers
    are, is taken to be called at each of them in turn, in the order of their names. Dropout, which in evaluation mode
    hands on what it is given, is not watched: a fused kernel would have to give way to it.
    """
    calls: list[Call] = []

    def note(names: list[str]) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        earlier = count()

        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            number, place = divmod(next(earlier), len(names))
            calls.append(Call(names[place], number, tuple(map(_detached, inputs)), _detached(output)))

        return hook

    names: dict[nn.Module, list[str]] = defaultdict(list)
    for name, module in model.named_modules(remove_duplicate=False):
        names[module].append(name)
    handles = [
        module.register_forward_hook(note(places))
        for module, places in names.items()
        if not isinstance(module, nn.Dropout)
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _detached(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach()
    return tuple(map(_detached, value)) if isinstance(value, tuple) else value


def intermediates(model: Model, calls: list[Call]) -> Record:
    """The calls of one forward pass of `model`, by the names above.

    Raises InputError: as `check_evaluation`.
    """
    check_evaluation(model)
    record = Record()
    for full_name, _, inputs, output in calls:
        module = model.get_submodule(full_name)
        name = full_name.removeprefix("encoder.")
        owner, _, last = name.rpartition(".")
        if isinstance(module, DotProductAttention):
            for part, tensor in zip(("query", "key", "value"), inputs[:3], strict=True):
                record[f"{owner}.{part}"] = tensor
            record[f"{owner}.probabilities"] = probabilities(module, *inputs)
            record[f"{owner}.context"] = output
            continue
        for end, input_name in INPUT_NAMES.items():
            if name.endswith(end):
                record[name.removesuffix(end) + input_name] = inputs[0]
        if isinstance(output, Tensor) and last not in UNNAMED:
            record[name] = output
    return record


def check_evaluation(model: Model) -> None:
    """Raises InputError: in training mode, where the probabilities that dropout left can't be asked for again."""
    if model.training:
        raise InputError("trace: the model is in training mode; call model.eval() first")


@torch.no_grad()
def probabilities(
    attention: DotProductAttention, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
) -> Tensor:
    """How much each token looks at each, (B, N, T, T), as `attention` itself weighs it: its answer when token k's value
    is the k-th unit vector. So the fused kernel, which shows no probabilities, is asked for its own.
    """
    tokens, head_size = value.shape[-2:]
    columns = []
    for first in range(0, tokens, head_size):  # in values of the usual size: for another there may be another kernel
        unit_vectors = value.new_zeros(tokens, head_size)
        unit_vectors[first : first + head_size].fill_diagonal_(1.0)
        columns.append(attention.forward(query, key, unit_vectors.expand_as(value), mask))
    return torch.cat(columns, dim=-1)[..., :tokens]
