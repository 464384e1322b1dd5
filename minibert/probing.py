"""Where a model knows something: linear probes on the frozen states of each block, and how much they only memorise.

A probe is a multinomial logistic regression from hidden states to labels (Alain & Bengio 2016, arXiv 1610.01644). If it
is accurate, the states tell the labels, or the probe has learnt the label of each word by heart. A control task tells
the two apart (Hewitt & Liang 2019, arXiv 1909.03368, section 2): each word type gets one random label, so that only
memorising helps. Selectivity is the accuracy minus that of the same probe on the control task.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from minibert.embedding import BATCH_TOKENS, batches_by_length, padded, tokenize
from minibert.errors import InputError
from minibert.fast.dropout import without_dropout
from minibert.heads import Model
from minibert.model import Bert
from minibert.tokenizer import Tokenizer
from minibert.tokenizer.vocabulary import in_running_text
from minibert.tracing import states_between

TaggedWords = tuple[Sequence[str], Sequence[str | None]]  # a sentence: its words, and a tag for each or None
LabelledText = tuple[str, str]
Examples = Sequence[TaggedWords] | Sequence[LabelledText]

PARTS = ("train", "dev", "test")
HELD_OUT = 0.2  # of the examples, for testing, if there is no test part
TUNED_ON = 0.1  # of those left, to choose the penalty, if there is no dev part
PENALTIES = (1e-1, 1e-2, 1e-3, 1e-4)  # strongest first: each probe starts where the one before ended
MOST_LABELS = 1000  # a probe computes words x labels numbers at once
UNSEEN = -1  # a label that the training part lacks: no probe predicts it
MOST_STEPS = 1000  # of L-BFGS; parts of speech take about a hundred
TOLERANCE = 1e-4  # of the largest partial derivative, where a probe counts as fitted; as in scikit-learn


class Block(NamedTuple):
    """What the probes of one block's states achieve on the test part; accuracies are from 0 to 1."""

    name: str  # as in `minibert.trace`: "embeddings", "blocks.0"
    accuracy: float
    control: float | None  # the accuracy on the control task; None for texts
    penalty: float  # of both probes: the one with the best accuracy on the dev part

    @property
    def selectivity(self) -> float | None:
        """Accuracy minus control accuracy."""
        return None if self.control is None else self.accuracy - self.control


class Probes(NamedTuple):
    """What `probe` returns: L + 1 blocks, from the embeddings to the last, and what their figures depend on."""

    blocks: list[Block]
    majority: float  # the accuracy on the test part of always predicting the most frequent label of the training part
    labels: tuple[str, ...]  # of the training part
    counts: dict[str, int]  # "train", "dev", "test" -> labelled words or texts
    unseen_labels: int  # words or texts of the test part whose label the training part lacks: they count as wrong
    seen_types: float | None  # share of the test part's words whose type the training part has; None for texts
    unknown: int  # words with an unknown token, [UNK]
    left_out: dict[str, int]  # why -> words that are not probed; or texts that are cut


def probe(
    model: Model,
    tokenizer: Tokenizer,
    train: Examples,
    *,
    dev: Examples | None = None,
    test: Examples | None = None,
    seed: int = 0,
    batch_tokens: int = BATCH_TOKENS,
    progress: bool = False,
) -> Probes:
    """Train a linear probe on the states after the embeddings and after each block, and test it on held-out examples.

    train, dev, test: sentences, each a pair of words and their tags, where a word with the tag None is read but not
    probed; or texts, each a pair of a text and its label. Without `test`, a random fifth of `train` is held out;
    without `dev`, a tenth of the rest. A word's state is the mean of its pieces' states, as in Hewitt & Manning 2019 (a
    structural probe); a text's is the mean over all tokens, including [CLS] and [SEP]. What is beyond the model's
    positions is cut off: those words are left out, and texts are represented by their beginning.

    The states are standardised by the training part. The probe minimises the mean cross-entropy plus the penalty times
    half the sum of squared weights; of `PENALTIES`, the one with the best accuracy on `dev` counts. (scikit-learn's C
    is 1 / (penalty · training examples).) In the control task, each word type, given by its pieces, has a random label,
    drawn with the frequencies of the training part's tags; its probe has the same penalty. Texts have no control task:
    each occurs once, so a label drawn for it can't be predicted. `seed` decides what is held out and drawn. The model
    and the probes compute on the model's device. Memory: the states of all tokens at one block.

    Raises InputError if a part has no labelled word or text, the training part has fewer than two labels or more than
    `MOST_LABELS`, a text is not valid Unicode, batch_tokens is below 1, or the states are not finite.
    """
    generator = np.random.default_rng(seed)
    parts = split(train, dev, test, generator)
    examples: list[Any] = [example for part in parts for example in part]
    if not examples:
        raise InputError("no examples to train on, expected sentences or texts")
    read = text_items if isinstance(examples[0][0], str) else word_items
    items = read(model, tokenizer, examples, progress=progress)
    part_of = np.repeat(np.arange(len(PARTS)), [len(part) for part in parts])[items.example]
    where = [torch.from_numpy(np.flatnonzero(part_of == part)) for part in range(len(PARTS))]
    counts = {name: len(rows) for name, rows in zip(PARTS, where, strict=True)}
    if missing := [name for name in PARTS if not counts[name]]:
        raise InputError(f"the {missing[0]} part has no {items.what} with a label, expected at least one")
    labels = sorted({items.labels[row] for row in where[0]})
    if not 2 <= len(labels) <= MOST_LABELS:
        there = f"only {labels[0]!r}" if len(labels) == 1 else f"{len(labels):,}"
        raise InputError(f"expected from 2 to {MOST_LABELS:,} different labels to train on, found {there}")
    number = {label: i for i, label in enumerate(labels)}
    targets = torch.tensor([number.get(label, UNSEEN) for label in items.labels])  # (n,)
    frequencies = torch.bincount(targets[where[0]]).double() / counts["train"]  # (C,)
    control = seen_types = None
    if items.types is not None:
        control = control_targets(items.types, frequencies, generator)  # (n,)
        known = {items.types[row] for row in where[0]}
        seen_types = float(np.mean([items.types[row] in known for row in where[2]]))
    blocks = []
    names = states_between(model.config.num_hidden_layers)
    states = block_states(model.encoder, items, tokenizer.pad_id, batch_tokens)
    bar = tqdm(names, desc="probing", unit=" blocks", disable=None if progress else True)
    for name, found in zip(bar, states, strict=True):
        blocks.append(Block(name, *probed(found, targets, control, where, len(labels))))
    return Probes(
        blocks,
        majority=float((targets[where[2]] == frequencies.argmax()).double().mean()),
        labels=tuple(labels),
        counts=counts,
        unseen_labels=int((targets[where[2]] == UNSEEN).sum()),
        seen_types=seen_types,
        unknown=items.unknown,
        left_out=items.left_out,
    )


def split(
    train: Examples, dev: Examples | None, test: Examples | None, generator: np.random.Generator
) -> tuple[Examples, Examples, Examples]:
    """Return train, dev and test; those that are None are drawn from train, and the rest keeps its order."""

    def hold_out(examples: Examples, share: float) -> tuple[list[Any], list[Any]]:
        held = set(generator.permutation(len(examples))[: max(1, round(share * len(examples)))].tolist())
        parts: tuple[list[Any], list[Any]] = ([], [])
        for i, example in enumerate(examples):
            parts[i in held].append(example)
        return parts

    if test is None:
        train, test = hold_out(train, HELD_OUT)
    if dev is None:
        train, dev = hold_out(train, TUNED_ON)
    return train, dev, test


def control_targets(types: Sequence[tuple[int, ...]], frequencies: Tensor, generator: np.random.Generator) -> Tensor:
    """Return the labels of the control task, (n,): of each type one, drawn with the labels' frequencies, (C,)."""
    numbers = {kind: i for i, kind in enumerate(dict.fromkeys(types))}
    drawn = generator.choice(len(frequencies), len(numbers), p=frequencies.numpy())
    return torch.from_numpy(drawn[[numbers[kind] for kind in types]])


# --- From words and texts to states ----------------------------------------------------------------------------------


class Items(NamedTuple):
    """What is probed, n words or texts: each is some tokens of one sequence, and its state is their mean."""

    what: str  # "word" or "text"
    sequences: list[NDArray[np.int32]]  # (T,) for each example, each with its own T
    tokens: list[NDArray[np.int64]]  # for each example, (2, P): the position of a token, and the number of its item
    example: NDArray[np.int64]  # (n,): the number of the example
    labels: list[str]  # of each item
    types: list[tuple[int, ...]] | None  # of each item: a word's pieces
    unknown: int
    left_out: dict[str, int]


def word_items(model: Model, tokenizer: Tokenizer, sentences: Sequence[TaggedWords], *, progress: bool) -> Items:
    """Return the words that have a tag. Raises InputError as `probe` does."""
    room = model.config.longest - tokenizer.special_count(pair=False)
    if room < 1:
        raise InputError(f"a model of {model.config.longest} positions has no room for a word")
    words = list(dict.fromkeys(word for words, _ in sentences for word in words))
    pieces = dict(zip(words, map(tuple, tokenizer.encode_plain(in_running_text(words))), strict=True))
    items = Items("word", [], [], np.empty(0, np.int64), [], [], 0, {"beyond the model's positions": 0, "no piece": 0})
    example: list[int] = []
    types = []
    for number, (words_of, tags) in enumerate(tqdm(sentences, desc="tokenising", disable=None if progress else True)):
        ids: list[int] = []
        tokens: list[tuple[int, int]] = []
        for place, (word, tag) in enumerate(zip(words_of, tags, strict=True)):
            new = pieces[word]
            if len(ids) + len(new) > room:
                items.left_out["beyond the model's positions"] += sum(tag is not None for tag in tags[place:])
                break
            if tag is not None and not new:  # such as a lone variation selector
                items.left_out["no piece"] += 1
            elif tag is not None:
                tokens += [(1 + len(ids) + i, len(example)) for i in range(len(new))]  # 1: [CLS] comes first
                example.append(number)
                items.labels.append(tag)
                types.append(new)
            ids += new
        items.sequences.append(tokenizer.lay_out(ids).ids)
        items.tokens.append(np.array(tokens, np.int64).reshape(-1, 2).T)
    unknown = sum(tokenizer.unk_id in kind for kind in types)
    return items._replace(example=np.array(example, np.int64), types=types, unknown=unknown)


def text_items(model: Model, tokenizer: Tokenizer, texts: Sequence[LabelledText], *, progress: bool) -> Items:
    """Return the texts. Raises InputError as `probe` does."""
    found = tokenize(model, tokenizer, [text for text, _ in texts], max_length=None, progress=progress)
    tokens = [np.array([np.arange(len(ids)), np.full(len(ids), i)]) for i, ids in enumerate(found.sequences)]
    labels = [label for _, label in texts]
    unknown = sum(tokenizer.unk_id in ids for ids in found.sequences)
    cut = {"cut at the model's positions": found.cut}
    return Items("text", found.sequences, tokens, np.arange(len(texts)), labels, None, unknown, cut)


@torch.no_grad()
def block_states(encoder: Bert, items: Items, pad_id: int, batch_tokens: int) -> Iterator[Tensor]:
    """Yield the items' states after the embeddings and after each block: L + 1 times (n, H), in float32.

    One forward pass, in which all sequences go through a block before the next: `Bert.forward`, turned inside out.
    """
    if batch_tokens < 1:
        raise InputError(f"a batch must have at least 1 token, not {batch_tokens}")
    device = encoder.embeddings.token.weight.device
    with without_dropout(encoder):
        hidden, batches = [], []
        for rows in batches_by_length(items.sequences, batch_tokens):
            input_ids, attention_mask = padded([items.sequences[row] for row in rows], pad_id, device)
            width = input_ids.size(1)
            at = [items.tokens[row] + [[i * width], [0]] for i, row in enumerate(rows)]
            positions, item = torch.from_numpy(np.concatenate(at, axis=1)).to(device)  # (P,): flat, b·T + t; its item
            x, mask = encoder.begin(input_ids, None, attention_mask)
            hidden.append(x)
            batches.append((mask, positions, item))
        for block in (None, *encoder.blocks):
            sums = torch.zeros(len(items.labels), encoder.config.hidden_size, device=device)
            counts = torch.zeros(len(items.labels), 1, device=device)
            for i, (mask, positions, item) in enumerate(batches):
                if block is not None:
                    hidden[i] = block(hidden[i], mask)
                sums.index_add_(0, item, hidden[i].flatten(0, 1)[positions].float())
                counts.index_add_(0, item, counts.new_ones(len(item), 1))
            if not sums.isfinite().all():
                raise InputError("the model's hidden states are not finite numbers, so they can't be probed")
            yield sums / counts


# --- The probe -------------------------------------------------------------------------------------------------------


def probed(
    states: Tensor, targets: Tensor, control: Tensor | None, where: Sequence[Tensor], classes: int
) -> tuple[float, float | None, float]:
    """Return the accuracy and the control accuracy on the test part, and the penalty that the dev part chose.

    states: (n, H); targets, control: (n,); where: the rows of train, dev and test.
    """
    train, dev, test = (states[rows.to(states.device)] for rows in where)
    mean, spread = train.mean(0), train.std(0, correction=0)
    spread[spread == 0] = 1.0  # such a dimension is 0 in all of them
    train, dev, test = ((part - mean) / spread for part in (train, dev, test))

    def accuracy(fitted: Tensor, part: Tensor, wanted: Tensor) -> float:
        return float((predicted(fitted, part).argmax(-1).cpu() == wanted).double().mean())

    best, best_accuracy, best_penalty, fitted = None, -1.0, 0.0, None
    for penalty in PENALTIES:
        fitted = fit(train, targets[where[0]], classes, penalty, start=fitted)
        if (found := accuracy(fitted, dev, targets[where[1]])) > best_accuracy:
            best, best_accuracy, best_penalty = fitted, found, penalty
    assert best is not None
    control_accuracy = None
    if control is not None:
        memorised = fit(train, control[where[0]], classes, best_penalty)
        control_accuracy = accuracy(memorised, test, control[where[2]])
    return accuracy(best, test, targets[where[2]]), control_accuracy, best_penalty


def predicted(fitted: Tensor, states: Tensor) -> Tensor:
    """Return logits: (C, H + 1), of which the last column is the bias, (n, H) -> (n, C)"""
    return F.linear(states, fitted[:, :-1], fitted[:, -1])


def fit(states: Tensor, targets: Tensor, classes: int, penalty: float, *, start: Tensor | None = None) -> Tensor:
    """Return the weights and biases, (C, H + 1), that minimise the mean cross-entropy + penalty / 2 · Σ weight².

    states: (n, H); targets: (n,), from 0 to classes - 1. The minimum does not depend on `start`, which saves time.
    L-BFGS finds it: Nocedal 1980, as PyTorch has it, with the whole training part as one batch.
    """
    first = states.new_zeros(classes, states.size(1) + 1) if start is None else start.clone()
    fitted = first.requires_grad_()
    targets = targets.to(states.device)
    optimizer = torch.optim.LBFGS(
        [fitted], max_iter=MOST_STEPS, tolerance_grad=TOLERANCE, tolerance_change=0, history_size=20,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(predicted(fitted, states), targets) + penalty / 2 * fitted[:, :-1].square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return fitted.detach()
