"""How likely a masked language model finds a text: its pseudo-log-likelihood, one masked copy for each token.

PLL(text) = Σ log p(token | all other tokens), in nats: Salazar et al. 2020, "Masked Language Model Scoring" (arXiv
1910.14659), equation 1. Kauf & Ivanova 2023 (arXiv 2305.10588) show that it favours words of several pieces, each of
which the others betray, and compare it with masking whole words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from minibert.embedding import BATCH_TOKENS, batches_by_length, padded
from minibert.errors import InputError
from minibert.fast.dropout import without_dropout
from minibert.fast.one_each import states_of_one_each
from minibert.heads import BertForMaskedLM, BertForPreTraining, Model
from minibert.tokenizer import Tokenizer

Ids = NDArray[np.int32]

TEXTS_AT_ONCE = 2**13  # of a file, as token ids in memory
COPIES_AT_ONCE = 2**20  # tokens of masked copies in memory: some 50 MB
LOGITS_AT_ONCE = 2**24  # numbers, 64 MB in float32


def score(
    model: Model,
    tokenizer: Tokenizer,
    texts: Sequence[str] | str,
    *,
    whole_words: bool = False,
    batch_tokens: int = BATCH_TOKENS,
    progress: bool = False,
) -> NDArray[np.float64]:
    """Return the pseudo-log-likelihood of each text in nats, at most 0: (texts,). A single string is one text.

    It is the sum over the text's tokens of log p(token | all others), each token masked once, alone. Special tokens are
    there but not scored, also where the text spells them out; [UNK] is a token like others. A text without tokens
    scores 0. whole_words: all pieces of a word are masked together, and the sum is still over all pieces. batch_tokens:
    tokens in a batch, including padding; a longer text's copies go one by one. progress: show bars on standard error if
    that is a terminal.

    The model computes on its own device and in its own number format, the probabilities in float32. Equal texts have
    exactly equal scores. Memory: the texts' ids, and a bounded number of masked copies.

    Raises InputError if the model has no masked-LM head, batch_tokens is below 1, or a text is not valid Unicode or has
    more tokens than the model has positions: a text is never cut.
    """
    texts = [texts] if isinstance(texts, str) else texts
    scorer = Scorer(model, tokenizer, whole_words=whole_words, batch_tokens=batch_tokens, progress=progress)
    return scorer.score(texts, lambda number: f"text {number + 1}")


class Scorer:
    """The parts of `score`, with its arguments and errors. place: what messages call a text, by its number from 0."""

    def __init__(
        self, model: Model, tokenizer: Tokenizer, *, whole_words: bool, batch_tokens: int, progress: bool
    ) -> None:
        if not isinstance(model, BertForPreTraining | BertForMaskedLM):
            raise InputError(f"a {type(model).__name__} has no masked-LM head, which scoring needs")
        if batch_tokens < 1:
            raise InputError(f"a batch must have at least 1 token, not {batch_tokens}")
        self.model = model
        self.tokenizer = tokenizer
        self.batch_tokens = batch_tokens
        self.disable = None if progress else True  # None: silent where standard error is no terminal
        special = [tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id]
        self.is_text = ~np.isin(np.arange(tokenizer.vocab_size), special)  # (V,)
        self.goes_on = tokenizer.continuation_mask & whole_words  # (V,): masked together with the piece before it

    def score(self, texts: Sequence[str], place: Callable[[int], str]) -> NDArray[np.float64]:
        """Return each text's score, (texts,)."""
        sequences = list(self.tokenize(texts, place))
        with self.bar(sum(map(self.count, sequences))) as bar:
            return self.scores(sequences, bar)

    def score_in_blocks(self, texts: Sequence[str], place: Callable[[int], str]) -> Iterator[tuple[float, int]]:
        """Yield each text's score and its number of scored tokens, in memory that does not grow with their number.

        All are tokenised before the first is scored, and again later: one that is too long is told at once.
        """
        with self.bar(self.total(texts, place)) as bar:
            for start in range(0, len(texts), TEXTS_AT_ONCE):
                encoded = self.tokenizer.encode_whole(texts[start : start + TEXTS_AT_ONCE])
                sequences = [np.array(ids, dtype=np.int32) for ids in encoded]
                scores = self.scores(sequences, bar).tolist()
                bar.clear()  # the caller may print them
                yield from zip(scores, map(self.count, sequences), strict=True)

    def total(self, texts: Sequence[str], place: Callable[[int], str]) -> int:
        """Return the number of scored tokens of all texts."""
        return sum(map(self.count, self.tokenize(texts, place)))

    def tokenize(self, texts: Sequence[str], place: Callable[[int], str]) -> Iterator[Ids]:
        """Yield each text's ids, (T,)."""
        positions = self.model.config.longest
        encoded = self.tokenizer.encode_whole(texts, tokens=positions)
        bar = tqdm(encoded, desc="tokenising", total=len(texts), unit=" texts", disable=self.disable)
        for number, ids in enumerate(bar):
            if len(ids) > positions:
                raise InputError(
                    f"{place(number)}: more than {positions} tokens, the model's positions, counting [CLS] and [SEP]; "
                    "split the text"
                )
            yield np.array(ids, dtype=np.int32)

    def count(self, ids: Ids) -> int:
        """Return the number of tokens that are scored."""
        return int(self.is_text[ids].sum())

    def bar(self, total: int) -> tqdm[Any]:
        """Return the progress bar of scoring, in tokens."""
        return tqdm(desc="scoring", total=total, unit=" tokens", unit_scale=True, disable=self.disable)

    @torch.inference_mode()
    def scores(self, sequences: Sequence[Ids], bar: tqdm[Any]) -> NDArray[np.float64]:
        """Return each sequence's score, (n,)."""
        numbers: dict[bytes, int] = {}  # of different sequences
        number = np.array([numbers.setdefault(ids.tobytes(), len(numbers)) for ids in sequences], dtype=np.int64)
        different = [np.frombuffer(ids, dtype=np.int32) for ids in numbers]
        times = np.bincount(number)
        found = np.zeros(len(different))
        with without_dropout(self.model):
            for block in blocks(different):
                copies = MaskedCopies()
                for i in block:
                    copies.add(i, different[i], self.spans(different[i]), self.tokenizer.mask_id)
                for rows in batches_by_length(copies.inputs, self.batch_tokens):
                    scored, log_probabilities = self.batch(copies, rows)
                    if not np.isfinite(log_probabilities).all():
                        raise InputError("the model's outputs are not finite numbers, so it can't score any text")
                    np.add.at(found, scored, log_probabilities)
                    bar.update(int(times[scored].sum()))
        return found[number]

    def spans(self, ids: Ids) -> list[tuple[int, int]]:
        """Return the [start, stop) positions that are masked together: single tokens, or whole words."""
        is_text = self.is_text[ids]
        goes_on = is_text & np.roll(is_text, 1) & self.goes_on[ids]  # ids end with [SEP]: nothing goes on from there
        starts = np.flatnonzero(is_text & ~goes_on)
        stops = np.flatnonzero(is_text & ~np.roll(goes_on, -1)) + 1
        return list(zip(starts.tolist(), stops.tolist(), strict=True))

    def batch(self, copies: MaskedCopies, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Run some copies through the model: return text numbers and the log p of one of their tokens, (N,) each."""
        inputs = [copies.inputs[row] for row in rows]
        device = self.model.encoder.embeddings.token.weight.device
        input_ids, mask = padded(inputs, self.tokenizer.pad_id, device)
        width = input_ids.size(1)
        targets = [(i * width + at, *rest) for i, row in enumerate(rows) for at, *rest in copies.targets[row]]
        flat, tokens, texts = np.array(targets).T  # (N,) each
        positions, which = np.unique(flat, return_inverse=True)  # (M,), (N,)
        at = torch.from_numpy(positions).to(device)
        if len(at) == len(rows):  # one position in each copy, in the order of the copies
            states = states_of_one_each(self.model.encoder, input_ids, at % width, mask)
        else:
            states = self.model.encoder.states_at(input_ids, at, attention_mask=mask)
        return texts, self.log_probabilities(states, which, tokens)

    def log_probabilities(
        self, states: Tensor, which: NDArray[np.int64], tokens: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return log p(token) by the masked-LM head for pairs of a state and a token: (M, H), (N,), (N,) -> (N,)."""
        found = np.empty(len(tokens))
        size = max(1, LOGITS_AT_ONCE // self.model.config.vocab_size)
        for start in range(0, len(states), size):
            logs = self.model.mlm_head(states[start : start + size]).float().log_softmax(-1)  # (m, V)
            here = np.flatnonzero((which >= start) & (which < start + size))
            found[here] = logs[torch.from_numpy(which[here] - start), torch.from_numpy(tokens[here])].cpu().numpy()
        return found


def blocks(sequences: Sequence[Ids]) -> Iterator[range]:
    """Yield ranges of sequences whose masked copies have together at most `COPIES_AT_ONCE` tokens, or of one."""
    start = tokens = 0
    for i, ids in enumerate(sequences):
        tokens += len(ids) ** 2
        if tokens > COPIES_AT_ONCE and i > start:
            yield range(start, i)
            start, tokens = i, len(ids) ** 2
    if sequences:
        yield range(start, len(sequences))


class MaskedCopies:
    """Masked copies of texts, each different one once: a minimal pair shares that in which its difference is masked."""

    def __init__(self) -> None:
        self.inputs: list[Ids] = []  # (T,)
        self.targets: list[list[tuple[int, int, int]]] = []  # of each input: position, token, number of the text
        self._known: dict[tuple[bytes, int, int], int] = {}

    def add(self, number: int, ids: Ids, spans: Sequence[tuple[int, int]], mask_id: int) -> None:
        """Add the copies of a text, one for each span that is masked."""
        tokens = ids.tolist()
        for start, stop in spans:
            masked = ids.copy()
            masked[start:stop] = mask_id
            at = self._known.setdefault((masked.tobytes(), start, stop), len(self.inputs))
            if at == len(self.inputs):
                self.inputs.append(masked)
                self.targets.append([])
            self.targets[at].extend((position, tokens[position], number) for position in range(start, stop))
