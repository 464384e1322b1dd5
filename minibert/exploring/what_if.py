"""What if a head or block were missing? Each is switched off in turn, and the model is asked again.

A head is switched off by setting its context to zero, so that it adds nothing to its sublayer's output (Michel et al.
2019, "Are Sixteen Heads Really Better than One?", arXiv 1905.10650, section 2.3); a block by passing on its input. The
model is watched from outside while it runs; nothing stays on its modules.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from minibert.exploring.predictions import Question, ask, best_answers, values
from minibert.exploring.states import states_of_copies
from minibert.heads import Model
from minibert.model import Bert, DotProductAttention
from minibert.tokenizer import Batch

Hook = Callable[[tuple[Any, ...], Tensor], Tensor]  # a call's inputs and its output -> another output

MOST_ANSWERS = 3  # for each question, with each head or block switched off


@contextlib.contextmanager
def changed_at(module: nn.Module, call: int, change: Hook) -> Iterator[None]:
    """In one forward pass, let `change` replace the output of a module's call of that number, counted from 0."""
    calls = itertools.count()

    def hook(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        return change(inputs, output) if next(calls) == call else output

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def call_of(encoder: Bert, layer: int) -> int:
    """Return which call of its block a layer is: the first, unless all layers share one block."""
    return layer if encoder.config.share_layers else 0


@contextlib.contextmanager
def each_head_off(encoder: Bert, layer: int) -> Iterator[None]:
    """For a batch of N rows, switch off head n of the layer in row n."""

    def without_own_head(inputs: tuple[Any, ...], context: Tensor) -> Tensor:
        """(N, N, T, D), rows first, then heads"""
        off = torch.eye(len(context), dtype=torch.bool, device=context.device)
        return context.masked_fill(off[:, :, None, None], 0.0)

    attention = encoder.get_submodule(f"blocks.{layer}.attention")
    products = [module for module in attention.children() if isinstance(module, DotProductAttention)]
    with contextlib.ExitStack() as stack:
        for product in products:  # one, or two in a Longformer
            stack.enter_context(changed_at(product, call_of(encoder, layer), without_own_head))
        yield


def states_without(encoder: Bert, batch: Batch, layer: int) -> Tensor:
    """Return the last block's output, (N + 1, T, H): in row n without head n, in the last without the layer."""
    with each_head_off(encoder, layer):
        without_heads = states_of_copies(encoder, batch, encoder.config.num_attention_heads)
    with changed_at(encoder.blocks[layer], call_of(encoder, layer), lambda inputs, _: inputs[0]):
        without_block = states_of_copies(encoder, batch, 1)
    return torch.cat([without_heads, without_block])


@torch.inference_mode()
def what_if(
    model: Model, batch: Batch, hidden: Tensor, questions: Sequence[Question], chosen: Sequence[int], *, progress: bool
) -> dict[str, Any]:
    """Ask every question again with each head, and each block, switched off.

    hidden: (1, T, H), the last block's output with everything on; chosen: for each question, the answer to follow.

    Returns moved: (L, N + 1), the distance of the last block's output from `hidden`, divided by the norm of that, as a
    mean over tokens; values: (Q, L, N + 1), of the chosen answer; answers: [Q][L][N + 1], the best ones then. In the
    last column the whole block is off.
    """
    encoder = model.encoder
    layers, columns = encoder.config.num_hidden_layers, encoder.config.num_attention_heads + 1
    moved = np.zeros((layers, columns), np.float32)
    followed = np.zeros((len(questions), layers, columns), np.float32)
    answers: list[list[list[list[dict[str, Any]]]]] = [[] for _ in questions]
    with tqdm(desc="switching heads off", total=layers * columns, unit="", disable=None if progress else True) as bar:
        for layer in range(layers):
            states = states_without(encoder, batch, layer)
            moved[layer] = ((states - hidden).norm(dim=-1) / hidden.norm(dim=-1)).mean(-1).float().cpu().numpy()
            for number, (question, place) in enumerate(zip(questions, chosen, strict=True)):
                shares = values(question, ask(model, states, question))  # (N + 1, C)
                followed[number, layer] = shares[:, place].cpu().numpy()
                answers[number].append([best_answers(question, row, MOST_ANSWERS) for row in shares])
            bar.update(columns)
    return {"moved": moved, "values": followed, "answers": answers}
