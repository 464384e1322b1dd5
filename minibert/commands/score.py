"""python -m minibert score: how likely a model finds texts, and which of two sentences it prefers."""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from minibert.checkpoint import listed
from minibert.console import cli, terminal
from minibert.embedding import BATCH_TOKENS
from minibert.errors import InputError, naming
from minibert.files import writing
from minibert.files.text import STANDARD_INPUT, read_texts, shown
from minibert.loading import load
from minibert.preferences import Preferences, preferences, read_pairs, table, words_seen
from minibert.preferences_picture import check_drawable, draw_bars, draw_lines
from minibert.scoring import Scorer
from minibert.training.device import choose_device, choose_precision
from minibert.training.memory import keep_freed_memory

DESCRIPTION = """Measure how likely a model finds each text, or how often it prefers the good one of two sentences.

  python -m minibert score runs/demo --input texts.txt                     # one text per line -> JSON lines
  python -m minibert score runs/demo --pairs blimp.jsonl.gz --group UID    # how often the good sentence scores higher
  python -m minibert score runs/mine/kept/* --pairs blimp.jsonl.gz --group linguistics_term --picture growth.png

The score is the pseudo-log-likelihood, in nats: each token is masked once, alone, and the log probabilities of the
masked tokens are added up. A longer text scores lower, so compare texts of similar length, or divide each score by its
number of tokens. With --pairs, the accuracy is the share of pairs whose good sentence scores higher; a tie counts as
half. In the mean accuracy, all groups have the same weight."""


@dataclass(frozen=True)
class ScoreOptions:
    """The options of `score`."""

    directory: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")]
    """a model directory with a masked-LM head"""
    others: Annotated[tyro.conf.Positional[tuple[str, ...] | None], tyro.conf.arg(metavar="[DIR ...]")] = None
    """more model directories, to compare with the first; only with --pairs"""
    input: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """a UTF-8 file with one text per line, plain or .gz, not a table or JSON; -: standard input; give this or
    --pairs"""
    output: Annotated[str, tyro.conf.arg(metavar="FILE.jsonl")] = STANDARD_INPUT
    """where to write the scores of --input, plain or .gz, one JSON object per line with the fields text, score and
    tokens (their number); -: standard output"""
    pairs: Annotated[str | None, tyro.conf.arg(metavar="FILE.jsonl")] = None
    """the file of sentence pairs, one JSON object per line, plain or .gz; give this or --input"""
    good: Annotated[str, tyro.conf.arg(metavar="FIELD")] = "sentence_good"
    """the field of the sentence that should score higher"""
    bad: Annotated[str, tyro.conf.arg(metavar="FIELD")] = "sentence_bad"
    """the field of the other sentence"""
    group: Annotated[str | None, tyro.conf.arg(metavar="FIELD")] = None
    """the field that names the group of a pair, such as BLiMP's UID or linguistics_term; if not given: all pairs are
    one group"""
    json: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """also write the accuracies of --pairs to this file, as JSON"""
    picture: Annotated[str | None, tyro.conf.arg(metavar="FILE.png")] = None
    """also draw the accuracies of --pairs: bars for one model; for several, lines over the number of words that each
    model has seen"""
    whole_words: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """mask all pieces of a word together, since a piece is easily predicted from the others; the score is still the sum
    over all pieces"""
    batch_tokens: cli.Count = BATCH_TOKENS
    """number of tokens in a batch, including padding; larger batches are faster on a GPU, but need more memory"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """where to compute; auto: a GPU if there is one, or else the CPU"""
    dtype: Literal["auto", "float32", "bfloat16"] = "float32"
    """number format of weights and hidden states; auto: bfloat16 if the hardware is fast with it, or else float32;
    probabilities are computed in float32 in any case"""

    @property
    def directories(self) -> tuple[str, ...]:
        """All model directories."""
        return (self.directory, *(self.others or ()))

    def check(self, given: Sequence[str]) -> None:
        """Raises InputError if options exclude each other, one is out of range, or an output can't be written or
        replaces an input.
        """
        cli.check_ranges(self)
        if (self.input is None) == (self.pairs is None):
            raise InputError("expected either --input (texts to score) or --pairs (sentences to compare)")
        if self.input is not None:
            cli.refuse(given, ("--good", "--bad", "--group", "--json", "--picture"), "it belongs to --pairs")
            if self.others:
                raise InputError(f"{self.others[0]}: --input takes only one model directory; --pairs takes several")
        else:
            cli.refuse(given, ("--output",), "it belongs to --input; --json FILE writes the accuracies")
        for one, other in combinations(self.directories, 2):
            if writing.real_path(one) == writing.real_path(other):
                raise InputError(f"{one} and {other} are the same directory, expected different models")
        output = None if self.output == STANDARD_INPUT else self.output
        outputs = {"--output": output, "--json": self.json, "--picture": self.picture}
        if not any(outputs.values()) and terminal.is_closed(sys.stdout):
            raise InputError("standard output: closed, expected somewhere to write to")
        writing.check_outputs(outputs, reads=(self.input, self.pairs, *self.directories))


def score_command(args: Sequence[str]) -> None:
    """Run `score`. Raises InputError if a directory, a file, a text or an option is wrong."""
    options = cli.parse(ScoreOptions, args, prog="python -m minibert score", description=DESCRIPTION)
    options.check(list(cli.given_options(args)))
    keep_freed_memory()
    if options.input is not None:
        score_lines(options, options.input)
    else:
        assert options.pairs is not None
        score_pairs(options, options.pairs)


def score_lines(options: ScoreOptions, path: str) -> None:
    """Write the score of each line of `path` as JSON lines, as they are computed."""
    texts = read_texts(path)
    found = scorer_of(options, options.directory).score_in_blocks(texts, lambda number: f"{shown(path)}:{number + 1}")
    lines = (
        json.dumps({"text": text, "score": score, "tokens": tokens}, ensure_ascii=False) + "\n"
        for text, (score, tokens) in zip(texts, found, strict=True)
    )
    with naming(options.directory):
        if options.output == STANDARD_INPUT:
            terminal.print_lines(lines)
        else:
            writing.write_lines(Path(options.output), (line.encode() for line in lines))
            terminal.say(f"{options.output}: written, one line for each text")


def score_pairs(options: ScoreOptions, path: str) -> None:
    """Print how often each model prefers the good sentences of `path`, and write and draw it as the options say."""
    pairs = read_pairs(path, good=options.good, bad=options.bad, group=options.group)
    groups = [pair.group for pair in pairs]
    texts = [text for pair in pairs for text in (pair.good, pair.bad)]  # side by side, to share masked copies
    fields = (options.good, options.bad)

    def place(number: int) -> str:
        return f"{shown(path)}:{pairs[number // 2].row}: {fields[number % 2]}"

    if equal := [pair.row for pair in pairs if pair.good == pair.bad]:  # BLiMP has some
        count = f"in {len(equal):,} of {len(pairs):,} pairs, both sentences are the same, which counts as a tie"
        terminal.say(f"{shown(path)}: {count} (the first is on line {equal[0]})")
    if options.picture is not None and len(options.directories) == 1:
        check_drawable(len(set(groups)))
    words: dict[str, int | None] = {}
    if options.others and (options.json or options.picture):  # nothing else shows them; a damaged file is found early
        words = {directory: words_seen(directory) for directory in options.directories}
    for directory in options.others or ():  # and what is wrong with a later model, before hours of work with the first
        scorer = scorer_of(options, directory)
        with naming(directory):
            scorer.total(texts, place)
    found = {}
    for directory in options.directories:
        start = time.perf_counter()
        scorer = scorer_of(options, directory)
        with naming(directory):
            scores = scorer.score(texts, place)
        found[directory] = preferences(scores[::2], scores[1::2], groups)
        terminal.say(f"{directory}: {len(texts):,} sentences in {time.perf_counter() - start:.1f} s")
    names = [writing.real_path(directory).name for directory in found]
    headed = dict(zip(names if len(set(names)) == len(names) else found, found.values(), strict=True))
    if options.json is not None:
        content = json.dumps(as_json(found, words), indent=2, ensure_ascii=False)
        writing.write_whole_text(Path(options.json), content + "\n")
    tell = terminal.say if options.json or options.picture else print  # nobody needs to see what a file has
    tell("\n".join(table(headed)))
    if options.picture is not None:
        draw(Path(options.picture), Path(path).name, headed, words)


def scorer_of(options: ScoreOptions, directory: str) -> Scorer:
    """Load a model. Raises InputError if it is not a model directory, or has no masked-LM head."""
    device = choose_device(options.device)
    model, tokenizer = load(directory)
    model.to(device, choose_precision(options.dtype, device).dtype)  # cast once; autocast would do it at every use
    with naming(directory):
        return Scorer(
            model, tokenizer, whole_words=options.whole_words, batch_tokens=options.batch_tokens, progress=True
        )


def as_json(found: dict[str, Preferences], words: dict[str, int | None]) -> dict[str, Any]:
    """Return what --json writes: of one model its mean and groups, of several each model's, with the words it saw."""

    def one(each: Preferences) -> dict[str, Any]:
        return {"mean": each.mean, "groups": {name: group._asdict() for name, group in each.groups.items()}}

    if len(found) == 1:
        return one(*found.values())
    return {"models": {name: one(each) | {"words": words[name]} for name, each in found.items()}}


def draw(path: Path, title: str, found: dict[str, Preferences], words: dict[str, int | None]) -> None:
    """Draw the picture; say which model it can't place by the words that it has seen."""
    if len(found) == 1:
        ((name, preferred),) = found.items()
        draw_bars(path, f"{name}, {title}", preferred)
    else:
        without = [directory for directory, seen in words.items() if seen is None]
        if without:
            terminal.say(
                f"{listed(without)}: summary.json has no count of words, so the models are drawn in the given order"
            )
        draw_lines(path, title, found, None if without else [seen for seen in words.values() if seen is not None])
    terminal.say(f"{path}: drawn")
