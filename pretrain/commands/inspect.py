"""python -m pretrain inspect: what the model will be shown, decoded."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import tyro

from minibert.console import cli
from minibert.errors import InputError
from minibert.tokenizer import Tokenizer
from pretrain.arrays.shards import open_prepared
from pretrain.batches.batch import BatchMaker, Examples, data_seed
from pretrain.batches.masking import Masker
from pretrain.batches.pairs import PairObjective, PairOptions, PairPlan

PROG = "python -m pretrain inspect"
PAIRS_AT_ONCE = 16  # so that memory does not grow with --count
DESCRIPTION = """Show training pairs with their masks, decoded, as the model sees them in a run with the same options.

  python -m pretrain inspect --data data/mine
  python -m pretrain inspect --data runs/mine/data --mask-rate 0.3 --count 2

The first line of a pair says whether the second text, B, follows the first, A. Masked tokens are in braces: {token ->
[MASK]} or {token -> other} where the model is shown something else, and {token} where the token stays as it is."""


@dataclass(frozen=True)
class InspectOptions:
    """Which pairs are shown, and how they are made."""

    data: Annotated[str, tyro.conf.arg(metavar="DIR")]
    """a directory of token arrays made by `prepare`, or the data/ of a run"""
    count: cli.Count = 5
    """number of pairs to show"""
    start: cli.CountFromZero = 0
    """number of the first pair to show, from 0, in the order of the run"""
    seq_len: Annotated[int, cli.Range(low=1, high=2**31 - 1)] = 128
    """number of tokens in a sequence, including special tokens"""
    mask_rate: cli.BetweenZeroAndOne = 0.15
    """share of the tokens that are masked; the fast recipe's is 0.3"""
    short_share: cli.ZeroToOne = 0.1
    """share of the sequences that are made shorter on purpose, so that the model also learns from short inputs"""
    phase: cli.CountFromZero = 0
    """which phase of the run to show, from 0 (a run's phases are set by its --phases); each has pairs and masks of its
    own"""
    whole_word_mask: bool = False
    """mask whole words, not single pieces"""
    pair_objective: PairObjective = "nsp"
    """what is predicted about sentence pairs, A and B; nsp: whether B follows A or is from another document; sop:
    whether A and B, which are consecutive, have been swapped; none: nothing; sequences are single segments, and the
    model has no pooler"""
    no_nsp: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """short for --pair-objective none"""
    seed: cli.Seed = 0
    """seed of the pairs and the masks, as in the run"""


def inspect_command(args: Sequence[str]) -> None:
    """Print pairs. Raises InputError if an option is bad or `--data` is not a complete directory of token arrays."""
    options = cli.parse(InspectOptions, args, prog=PROG, description=DESCRIPTION)
    cli.check_ranges(options)
    if options.no_nsp:
        cli.refuse(cli.given_options(args), ("--pair-objective",), "--no-nsp is short for --pair-objective none")
    corpus = open_prepared(options.data)
    objective: PairObjective = "none" if options.no_nsp else options.pair_objective
    separators = corpus.tokenizer.separators
    pairs = PairOptions(options.seq_len, objective, short_share=options.short_share, separators=separators)
    pairs.check_room()
    if pairs.objective == "nsp" and corpus.train.documents < 2:
        raise InputError(f"{options.data}: pairs need at least two documents; use --no-nsp")
    masker = Masker.of(corpus.tokenizer, rate=options.mask_rate, whole_words=options.whole_word_mask)
    seed = data_seed(options.seed, phase=options.phase)
    plan = PairPlan(corpus.train, pairs, seed=seed)
    maker = BatchMaker(corpus.train, corpus.tokenizer, pairs, masker, seed=seed)
    stop = options.start + options.count
    for first in range(options.start, stop, PAIRS_AT_ONCE):
        numbers = np.arange(first, min(first + PAIRS_AT_ONCE, stop))
        examples = maker.examples(plan.pairs(first, first + len(numbers)), numbers)
        for row, number in enumerate(numbers.tolist()):
            print(shown(examples, row, corpus.tokenizer, number=number, objective=pairs.objective))


KINDS: dict[PairObjective, tuple[str, str]] = {  # for an example whose B follows A, and for one whose B does not
    "nsp": ("B follows A", "B is from another document"),
    "sop": ("B follows A", "A follows B"),
    "none": ("one segment", "one segment"),
}


def shown(examples: Examples, row: int, tokenizer: Tokenizer, *, number: int, objective: PairObjective) -> str:
    """Return one example as a paragraph for people to read."""
    words: list[str] = []
    length = examples.lengths[row]
    columns = (column[row, :length].tolist() for column in (examples.ids, examples.seen, examples.asked))
    for was, seen, asked in zip(*columns, strict=True):
        token = tokenizer.shown(was)
        if asked:
            token = f"{{{token}}}" if was == seen else f"{{{token} -> {tokenizer.shown(seen)}}}"
        words.append(token)
    kind = KINDS[objective][int(examples.not_next[row])]
    lengths = f"{len(words)} tokens, {examples.asked[row].sum()} masked"
    return f"pair {number}: {kind}; {lengths}\n  {' '.join(words)}\n"
