"""Every intermediate of a forward pass, by name.

    record = minibert.trace(model, tokenizer("The man went to the [MASK] ."))
    record["blocks.3.attention.probabilities"]      # (B, N, T, T)

Hooks record the model's own forward pass and are removed afterwards. Names are those of the modules, without
`encoder.`, so that they are the same for every class; "{}" is the number of a block. In the order in which they are
computed:

    embeddings.token, .segment      (B, T, E)       no .segment in DistilBERT
    embeddings.position             (T, E)          RoBERTa's (B, T, E)
    embeddings.sum                  (B, T, E)       of the three, before LayerNorm
    embeddings.norm                 (B, T, E)       after LayerNorm
    embeddings.projection           (B, T, H)       only in ALBERT
    embeddings                      (B, T, H)       the first block's input
    blocks.{}.attention.query, .key, .value    (B, N, T, D)    of each head
    blocks.{}.attention.probabilities          (B, N, T, T)    row q, column k: how much token q attends to token k
    blocks.{}.attention.context     (B, N, T, D)    the values, averaged with the probabilities as weights
    blocks.{}.attention.global_query, …        as these five, for a Longformer's global tokens: of query, probabilities
                                               and context, only the rows of these are used
    blocks.{}.attention.output      (B, T, H)       what the sublayer adds to the residual stream
    blocks.{}.attention.sum         (B, T, H)       the stream after adding it, before LayerNorm
    blocks.{}.attention_norm        (B, T, H)
    blocks.{}.feed_forward.inner    (B, T, I)       before the activation; I is `intermediate_size`
    blocks.{}.feed_forward.activation          (B, T, I)
    blocks.{}.feed_forward.output, .sum        (B, T, H)       as for attention
    blocks.{}.feed_forward_norm     (B, T, H)
    blocks.{}                       (B, T, H)       the block's output
    pooler.dense, pooler            (B, H)          before and after tanh
    mlm_head.dense, .activation, .norm         (M, E)          at the masked positions
    mlm_head.decoder, mlm_head      (M, V)          the same tensor under both names
    nsp_head                        (B, 2)
    span_head                       (B, T, 2)
    classifier.dense, classifier    (B, C)          the same tensor; for token classification (B, T, C)
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
# The end of a module's name -> the name of its input: sums and activations, which no recorded module outputs.
INPUT_NAMES = {
    "embeddings.norm": "embeddings.sum",
    "attention_norm": "attention.sum",
    "feed_forward.output": "feed_forward.activation",
    "feed_forward_norm": "feed_forward.sum",
    "mlm_head.norm": "mlm_head.activation",
}
# Modules whose output gets no name: it is recorded in parts, or as the input of the next module.
UNNAMED = ("query_key_value", "global_query_key_value", "attention", "feed_forward", "activation", "dropout",
           "encoder", "")  # fmt: skip


class Record(dict[str, Tensor]):
    """Name -> tensor, in the order in which they are computed. Printing one shows names and shapes, not the values."""

    def __missing__(self, name: str) -> Tensor:
        near = difflib.get_close_matches(name, self, n=1)
        raise KeyError(f"no {name!r}" + "".join(f"; did you mean {other!r}?" for other in near))

    def __repr__(self) -> str:
        shapes = [f"{name} {tuple(tensor.shape)}" for name, tensor in islice(self.items(), 4)]
        return f"Record of {len(self)} tensors: {', '.join(shapes)}{', ...' if len(self) > len(shapes) else ''}"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a plain OrderedDict: `torch.load` accepts only classes that it knows."""
        return OrderedDict, (), None, None, iter(self.items())

    def __copy__(self) -> Record:
        return Record(self)


def trace(model: Model, batch: Batch, *, masked_positions: Tensor | None = None) -> Record:
    """Return every intermediate of `model` on `batch`, by the names above, in the order in which they are computed.

    masked_positions: (M,) flat positions b·T + t at which a masked-LM head predicts; None: every real token, in order.
    A multiple-choice model takes the texts of `batch` as the choices of one question.

    Raises InputError if the model is in training mode or its `forward` refuses the batch, and IndexError if
    `masked_positions` are outside the batch.
    """
    check_evaluation(model)
    inputs: dict[str, Tensor] = {name: getattr(batch, name) for name in MODEL_INPUTS}
    if isinstance(model, BertForMultipleChoice):
        inputs = {name: tensor[None] for name, tensor in inputs.items()}
    if isinstance(model, BertForPreTraining | BertForMaskedLM):
        real = batch.attention_mask.flatten().nonzero().flatten()
        inputs["masked_positions"] = real if masked_positions is None else masked_positions
    # The hooks make the last block compute all positions, even if the head needs only some (see `fast.encoder`).
    with torch.no_grad(), watched(model) as calls:
        model(**inputs)
    return intermediates(model, calls)


def states_between(layers: int) -> list[str]:
    """Return the names of the residual stream: before the first block, and after each; L + 1 in all."""
    return ["embeddings", *(f"blocks.{layer}" for layer in range(layers))]


class Call(NamedTuple):
    """One call of a module: its inputs and output, detached from the autograd graph."""

    name: str  # of the module
    number: int  # how many calls under that name came before this one
    inputs: tuple[Any, ...]  # the positional arguments
    output: Any  # a tensor, or whatever else the module returns


@contextlib.contextmanager
def watched(model: nn.Module) -> Iterator[list[Call]]:
    """Record the calls of every module in a list, in the order in which they end.

    Works on any PyTorch model. The calls of a module with several names, such as the one block that is all of ALBERT's
    layers, are assigned to these names in turn, in their order. Dropout is not watched: in evaluation mode it returns
    its input, and a hook on it would keep the fused attention kernel from running.
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
    """Return the intermediates in the calls of one forward pass of `model`, by the names above.

    Raises InputError as `check_evaluation` does.
    """
    check_evaluation(model)
    record = Record()
    for full_name, _, inputs, output in calls:
        module = model.get_submodule(full_name)
        name = full_name.removeprefix("encoder.")
        owner, _, last = name.rpartition(".")
        if isinstance(module, DotProductAttention):
            of = f"{owner}.{last.removesuffix('dot_product')}"  # "global_", in a Longformer's second one
            for part, tensor in zip(("query", "key", "value"), inputs[:3], strict=True):
                record[f"{of}{part}"] = tensor
            record[f"{of}probabilities"] = probabilities(module, *inputs)
            record[f"{of}context"] = output
            continue
        for end, input_name in INPUT_NAMES.items():
            if name.endswith(end):
                record[name.removesuffix(end) + input_name] = inputs[0]
        if isinstance(output, Tensor) and last not in UNNAMED:
            record[name] = output
    return record


def check_evaluation(model: Model) -> None:
    """Raises InputError if `model` is in training mode: the probabilities after dropout can't be computed again."""
    if model.training:
        raise InputError("trace: the model is in training mode; call model.eval() first")


@torch.no_grad()
def probabilities(
    attention: DotProductAttention, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
) -> Tensor:
    """Return how much each token attends to each, (B, N, T, T): the output of `attention` when token k's value is the
    k-th unit vector. This gives the fused kernel's own probabilities, which it does not return.
    """
    tokens, head_size = value.shape[-2:]
    columns = []
    for first in range(0, tokens, head_size):  # values keep their usual size: another may select another kernel
        unit_vectors = value.new_zeros(tokens, head_size)
        unit_vectors[first : first + head_size].fill_diagonal_(1.0)
        columns.append(attention.forward(query, key, unit_vectors.expand_as(value), mask))
    return torch.cat(columns, dim=-1)[..., :tokens]
