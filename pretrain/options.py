"""The options of a pretraining run: one dataclass, filled from a recipe and overridden by the command line."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Container, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import tyro

from minibert.console import cli
from minibert.errors import InputError, did_you_mean, naming
from minibert.files.text import read_small, reason
from minibert.files.typed import typed
from minibert.tokenizer.vocabulary import Kind
from minibert.training.run_directory import as_toml, plain_values
from pretrain.arrays.prepare import PrepareOptions
from pretrain.batches.pairs import PairObjective, PairOptions
from pretrain.keeping import Mark, parse_marks
from pretrain.text.word_bounds import Segmenter

if TYPE_CHECKING:
    from minibert.tokenizer import Tokenizer

RECIPES = ("fast", "paper")
PROG = "python -m pretrain"
DESCRIPTION = """Pretrain a BERT on text: train a vocabulary, turn the text into token arrays, and train the model.

  python -m pretrain --corpus pydocs --out runs/first                 5 minutes on Python's documentation
  python -m pretrain --corpus my-texts/ --out runs/mine --minutes 30  on your own text
  python -m pretrain --corpus my-texts/ --out runs/mine --resume      continue after an interruption
  python -m pretrain prepare --corpus my-texts/ --out data/mine       make only the vocabulary and the token arrays
  python -m pretrain inspect --data data/mine                         show training pairs with their masks, decoded
  torchrun --nproc-per-node 2 -m pretrain ...                         train in two processes (data-parallel)

The defaults shown below are those of the recipe: `fast`, or the one that --recipe names."""
# How `--help` groups the options, below the most important ones.
GROUPS = {
    "text_and_vocabulary": "text_field sentence_per_line document_per_line drop_duplicates word_segmenter "
    "tokenizer tokenizer_kind vocab_size lowercase",
    "model_and_objective": "init first_weights dropout seq_len phases short_share pair_objective no_nsp",
    "masking": "mask_rate whole_word_mask",
    "optimisation": "accumulate optimizer block_learning_rate betas eps weight_decay clip_norm "
    "warmup_share decay_share",
    "evaluation_and_saving": "evaluations keep_at save_every save_seconds log_every",
    "machine_and_seed": "device dtype compile seed",
}


@dataclass(frozen=True)
class PretrainOptions:
    """All options of a pretraining run, with everything that decides its result; saved as `run.toml`."""

    out: Annotated[str, tyro.conf.arg(metavar="DIR")] = ""
    """the run's directory, to which the model, its metrics and its curves are written"""
    corpus: Annotated[
        tuple[str, ...],
        tyro.conf.arg(metavar="PATH [PATH ...]", help_behavior_hint="(this or --data is required)"),
    ] = ()
    """the text to train on: pydocs (the documentation that comes with Python and its packages), or files and
    directories; .txt files have a blank line between documents, .jsonl files an object per line, and both may be .gz"""
    data: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    """a directory of token arrays made by `prepare`, to train on instead of --corpus"""
    resume: bool = False
    """continue the run in --out from its newest saved state, or start it if there is none"""

    model: Annotated[str | None, tyro.conf.arg(metavar="SIZE|FILE.json")] = None
    """tiny, mini, small, medium, base or large, or the path of a config .json; if not given: mini, unless there is
    --init"""
    init: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    """a model directory to start from, instead of fresh weights; its config and tokenizer are used"""
    recipe: Annotated[str, tyro.conf.arg(metavar="NAME|FILE.toml")] = "fast"
    """fast (a good model soonest), paper (Devlin et al. 2018), or the path of a .toml file; it sets the defaults of the
    other options"""

    steps: Annotated[int | None, cli.Range(low=1), tyro.conf.arg(metavar="INT")] = None
    """length of the run in optimizer steps; give this, --minutes or --passes"""
    minutes: Annotated[float | None, cli.Range(above=0), tyro.conf.arg(metavar="FLOAT")] = None
    """length of the run in minutes of training, not counting preparation, evaluation and saving"""
    passes: Annotated[float | None, cli.Range(above=0), tyro.conf.arg(metavar="FLOAT")] = None
    """length of the run in passes over the training text"""
    seq_len: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """number of tokens in a sequence, including special tokens, for the whole run; replaces --phases"""
    phases: Annotated[tuple[tuple[int, float], ...], tyro.conf.arg(metavar="INT FLOAT [INT FLOAT ...]")] = ((128, 1.0),)
    """phases of the run: for each, the number of tokens in a sequence, and its share of the run"""
    batch_size: cli.Count = 64
    """sequences per step, over all processes"""
    accumulate: cli.Count = 1
    """number of micro-batches that each process splits its part of a batch into; more of them need less memory, and the
    gradient is the same except for dropout"""

    optimizer: Literal["adamw", "muon"] = "muon"
    """muon: Muon for the matrices of the blocks, AdamW for the rest; adamw: AdamW for everything"""
    learning_rate: Annotated[float | None, cli.Range(above=0, high=1), tyro.conf.arg(metavar="FLOAT")] = None
    """peak learning rate of AdamW; if not given: by rule, from the model's width, the batch and the run's length; the
    rule is only for --optimizer muon, so with adamw a rate must be given"""
    block_learning_rate: Annotated[float | None, cli.Range(above=0, high=1), tyro.conf.arg(metavar="FLOAT")] = None
    """peak learning rate of Muon; if not given: by rule, from the model's width and depth, the batch and the run's
    length"""
    betas: Annotated[tuple[float, float], cli.Range(low=0, below=1)] = (0.9, 0.98)
    """AdamW's decay rates for the averages of the gradient and of its square"""
    eps: cli.AboveZeroToOne = 1e-8
    """AdamW's epsilon, which is added to the denominator of an update"""
    weight_decay: cli.ZeroToOne = 0.01
    """decoupled weight decay of matrices; biases and LayerNorm are exempt"""
    clip_norm: cli.NotNegative = 1.0
    """maximum norm of the whole gradient; 0: no clipping"""
    warmup_share: cli.ZeroToOne = 0.05
    """share of the run, at its start, in which the learning rate rises linearly from 0"""
    decay_share: cli.ZeroToOne = 0.95
    """share of the run, at its end, in which the learning rate falls linearly to 0"""

    first_weights: Literal["random", "neighbours"] = "neighbours"
    """initial weights; random: drawn with the config's initializer_range, by default 0.02, as standard deviation;
    neighbours: the output bias is computed from token frequencies, the embeddings from each token's neighbours, and
    heads start by attending to nearby tokens, so that a short run gets further"""
    dropout: Annotated[float | None, cli.Range(low=0, below=1), tyro.conf.arg(metavar="FLOAT")] = None
    """dropout during pretraining; the model's config.json keeps its own, for fine-tuning; if not given: none up to 15
    passes over the text, 0.1 for more"""
    mask_rate: cli.BetweenZeroAndOne = 0.3
    """share of the tokens that are masked in training; evaluation always uses 0.15"""
    whole_word_mask: bool = False
    """mask whole words, not single pieces"""
    word_segmenter: Annotated[Segmenter | None, tyro.conf.arg(metavar="{jieba}")] = None
    """jieba: segment Chinese text into words, whose characters --whole-word-mask then masks together (needs the
    optional dependency `zh`: pip install -e '.[zh]' in minibert's checkout)"""
    pair_objective: PairObjective = "nsp"
    """what is predicted about sentence pairs, A and B; nsp: whether B follows A or is from another document; sop:
    whether A and B, which are consecutive, have been swapped; none: nothing; sequences are single segments, and the
    model has no pooler"""
    no_nsp: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """short for --pair-objective none"""
    short_share: cli.ZeroToOne = 0.1
    """share of the sequences that are made shorter on purpose, so that the model also learns from short inputs"""

    vocab_size: int = 8192
    """number of tokens in the vocabulary that is trained on the corpus"""
    tokenizer_kind: Kind = "wordpiece"
    """kind of vocabulary to train; wordpiece: BERT's; bpe: RoBERTa's, over bytes; unigram: ALBERT's"""
    lowercase: bool = True
    """lower-case the text and remove accents; not for bpe, which keeps the text as it is"""
    tokenizer: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    """a directory with a tokenizer to use, instead of training a vocabulary"""
    sentence_per_line: bool = False
    """each line of the corpus is one sentence; otherwise the text is split into sentences (English or Chinese)"""
    document_per_line: bool = False
    """each line of a text file is a document; otherwise a blank line ends one"""
    drop_duplicates: bool = False
    """drop documents, and paragraphs of 60 characters or more, that repeat earlier ones word for word"""
    text_field: Annotated[str, tyro.conf.arg(metavar="FIELD")] = "text"
    """the field of a .jsonl line that holds the text"""

    keep_at: Annotated[str | None, tyro.conf.arg(metavar="MARK[,MARK...]")] = None
    """keep the model, with its held-out figures, in kept/ below --out at these points of the run: words seen (500k or
    2.5M), shares of the run (50%) or steps (1000steps), separated by commas"""
    save_every: cli.Count = 500
    """steps between saved states, from which --resume continues; the last two are kept"""
    save_seconds: cli.Positive = 120.0
    """longest time between saved states, in seconds of training"""
    evaluations: cli.Count = 10
    """number of evaluations on held-out documents, including the one at the end of the run"""
    log_every: cli.Count = 10
    """steps between lines in metrics.jsonl"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """where to compute; auto: a GPU if there is one, or else the CPU"""
    dtype: Literal["auto", "float32", "bfloat16", "float64"] = "auto"
    """number format of matrix products; auto: bfloat16 if the hardware is fast with it, or else float32; float64 is for
    verification"""
    compile: Literal["auto", "yes", "no"] = "auto"
    """use torch.compile, on a GPU, for faster steps; it takes up to a minute first, and needs a C compiler; auto: yes
    if --minutes is 10 or more"""
    seed: cli.Seed = 0
    """seed of the initial weights, the pairs, the masks and dropout"""

    @property
    def nsp(self) -> bool:
        """Whether the model is trained on next-sentence prediction, which needs documents other than a pair's own."""
        return self.pair_objective == "nsp"

    @property
    def marks(self) -> list[Mark]:
        """Where to keep the model along the way. Raises InputError as `parse_marks` does."""
        return [] if self.keep_at is None else parse_marks(self.keep_at, steps=self.steps)

    def pairs(self, phase: int, tokenizer: Tokenizer) -> PairOptions:
        """Return what decides the pairs of a phase."""
        seq_len, separators = self.phases[phase][0], tokenizer.separators
        return PairOptions(seq_len, self.pair_objective, short_share=self.short_share, separators=separators)

    def check(self) -> None:
        """Raises InputError if an option is missing, out of range or contradicts another; the message names it."""
        if not self.out:
            raise InputError("--out is missing: the directory that the run is written to")
        if bool(self.corpus) == (self.data is not None):
            raise InputError("give either --corpus (text) or --data (arrays made by `prepare`)")
        if sum(length is not None for length in (self.steps, self.minutes, self.passes)) != 1:
            raise InputError("give exactly one of --steps, --minutes and --passes")
        cli.check_ranges(self)
        if self.warmup_share + self.decay_share > 1:
            raise InputError("--warmup-share and --decay-share add up to more than the whole run")
        if self.optimizer == "adamw" and self.learning_rate is None:
            raise InputError("--learning-rate is missing: the rules know only the rates of --optimizer muon")
        self._check_phases()
        _ = self.marks
        if self.corpus:
            self.prepare_options()

    def _check_phases(self) -> None:
        if not self.phases:
            raise InputError("--phases is empty: give at least one sequence length with its share of the run")
        for seq_len, share in self.phases:
            PairOptions(seq_len, self.pair_objective).check_room()
            if not 0 < share <= 1:
                raise InputError(f"--phases: a share must be above 0 and at most 1, not {share}")
        total = sum(share for _, share in self.phases)
        if abs(total - 1) > 1e-6:
            raise InputError(f"--phases: the shares must add up to 1, not {total:g}")

    def prepare_options(self) -> PrepareOptions:
        """Return how the corpus is turned into token arrays."""
        names = [field.name for field in dataclasses.fields(PrepareOptions) if hasattr(self, field.name)]
        shared = {name: getattr(self, name) for name in names}
        return PrepareOptions(**shared | {"tokenizer": self.init or self.tokenizer})

    def to_toml(self, note: str = "") -> str:
        """Return the decisive options as a recipe, below a line of note; what `resolve` has expanded is left out."""
        comments = ["The resolved configuration of this run; it can be given to --recipe.", *([note] if note else [])]
        return as_toml(self.decisive(), "\n# ".join(comments))

    def decisive(self) -> dict[str, Any]:
        """Return the options that decide the result, as plain values: those that a resumed run must agree with."""
        return plain_values(self, without=NOT_DECISIVE)


# Options that belong to a single run, and shorthands that `resolve` expands into other fields.
NOT_IN_RECIPES = {"out", "resume", "recipe", "seq_len", "no_nsp"}
# Those, and options for how a run is computed and how often it reports.
NOT_DECISIVE = NOT_IN_RECIPES | {"save_every", "save_seconds", "evaluations", "log_every", "device", "compile"}


# Options for a vocabulary that is yet to be trained.
FOLDING_OPTIONS = ("--lowercase", "--no-lowercase", "--strip-accents")
CHINESE_OPTIONS = ("--chinese-chars", "--no-chinese-chars")
VOCABULARY_OPTIONS = ("--vocab-size", "--tokenizer-kind", *FOLDING_OPTIONS, *CHINESE_OPTIONS)


# What an option on the command line replaces if the recipe sets it.
REPLACED = {
    "--steps": ("minutes", "passes"), "--minutes": ("steps", "passes"), "--passes": ("steps", "minutes"),
    "--data": ("corpus",), "--corpus": ("data",), "--init": ("model", "tokenizer"),
}  # fmt: skip


def refuse_vocabulary_options(given: Container[str], *, kind: Kind, made: bool) -> None:
    """Raises InputError if an option has no effect on a vocabulary that already exists, or on this kind."""
    if made:
        cli.refuse(given, VOCABULARY_OPTIONS, "the vocabulary already exists")
    if kind == "bpe":
        cli.refuse(given, FOLDING_OPTIONS, "a bpe vocabulary keeps the text as it is")
    if kind != "wordpiece":
        cli.refuse(given, CHINESE_OPTIONS, "only a wordpiece vocabulary can treat characters as words")


def parse_options(args: Sequence[str]) -> PretrainOptions:
    """Return the options of a run: a recipe's values, overridden by the command line.

    Raises InputError if an option is unknown or impossible, or the recipe can't be read.
    """
    given = cli.given_options(args)
    # The recipe must be known before the other options are read, since it gives their defaults. A --recipe
    # without a value is left to the parser.
    recipe = "fast" if "--recipe" in args[-1:] else given.get("--recipe", "fast")
    defaults = {"out": tyro.MISSING, **read_recipe(recipe)}
    # If two options exclude each other, the one on the command line replaces the one that the recipe sets.
    for name, replaced in REPLACED.items():
        if name in given:
            defaults = {field: value for field, value in defaults.items() if field not in replaced}
    parsed = cli.parse(PretrainOptions, args, prog=PROG, description=DESCRIPTION, defaults=defaults, groups=GROUPS)
    options = resolve(parsed)
    options.check()
    _refuse_without_effect(options, given)
    return options


def _refuse_without_effect(options: PretrainOptions, given: Container[str]) -> None:
    """Raises InputError if an option would change nothing: whoever gives it expects an effect."""
    text = (
        *VOCABULARY_OPTIONS, "--tokenizer", "--sentence-per-line", "--no-sentence-per-line", "--document-per-line",
        "--no-document-per-line", "--drop-duplicates", "--no-drop-duplicates", "--text-field", "--word-segmenter",
    )  # fmt: skip
    pointless = [
        (options.init is not None, ("--model", "--tokenizer", "--first-weights"), "--init brings its own"),
        (options.data is not None, text, "the arrays of --data already exist"),
        (options.seq_len is not None, ("--phases",), "--seq-len replaces the phases"),
        (options.no_nsp, ("--pair-objective",), "--no-nsp is short for --pair-objective none"),
        (not options.whole_word_mask, ("--word-segmenter",), "without --whole-word-mask, single pieces are masked"),
        (options.optimizer == "adamw", ("--block-learning-rate",), "it belongs to Muon, and --optimizer is adamw"),
    ]
    for applies, names, because in pointless:
        if applies:
            cli.refuse(given, names, because)
    refuse_vocabulary_options(given, kind=options.tokenizer_kind, made=bool(options.init or options.tokenizer))


def resolve(options: PretrainOptions) -> PretrainOptions:
    """Expand the shorthands into the fields that they stand for."""
    if options.model is None and options.init is None:
        options = dataclasses.replace(options, model="mini")
    if options.seq_len is not None:
        options = dataclasses.replace(options, phases=((options.seq_len, 1.0),))
    if options.no_nsp:
        options = dataclasses.replace(options, pair_objective="none")
    return options


def read_recipe(name: str) -> dict[str, Any]:
    """Return the fields that a recipe sets; it is built in, given by name, or a .toml file, given by path.

    Raises InputError if there is no such recipe, it is not valid TOML, or a key is not an option or has a bad value.
    """
    path = resources.files("pretrain") / "recipes" / f"{name}.toml" if name in RECIPES else Path(name)
    try:
        recipe = tomllib.loads(read_small(str(path)))
    except FileNotFoundError:
        expected = f"give {', '.join(RECIPES)} or the path of a .toml file"
        raise InputError(f"no recipe {name!r}: {expected}{did_you_mean(name, RECIPES)}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{name}: not readable as TOML ({reason(error)})") from error
    types = get_type_hints(PretrainOptions)
    if unknown := sorted(set(recipe) - set(types) | set(recipe) & NOT_IN_RECIPES):
        near = did_you_mean(unknown[0], types.keys() - NOT_IN_RECIPES)
        what = "not options" if unknown[1:] else "not an option"
        raise InputError(f"{name}: {', '.join(unknown)}: {what} that a recipe can set{near}")
    with naming(name):
        return {"recipe": name, **{key: typed(value, types[key], key) for key, value in recipe.items()}}
