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
DESCRIPTION = """Pretrain a BERT on text.

  python -m pretrain --corpus pydocs --out runs/first                 5 minutes on Python's documentation
  python -m pretrain --corpus my-texts/ --out runs/mine --minutes 30  on your own text
  python -m pretrain --corpus my-texts/ --out runs/mine --resume      continue after an interruption
  python -m pretrain prepare --corpus my-texts/ --out data/mine       only the vocabulary and the token arrays
  python -m pretrain inspect --data data/mine                         training pairs and masks, decoded
  torchrun --nproc-per-node 2 -m pretrain ...                         the same, data-parallel

The defaults below are those of the recipe (fast, unless --recipe names another)."""
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

    out: str = ""
    """the run's directory, for the model, its figures and its curves"""
    corpus: Annotated[tuple[str, ...], tyro.conf.arg(help_behavior_hint="(this or --data is required)")] = ()
    """pydocs (the documentation that comes with Python and its packages), or text files and directories: .txt or .jsonl, plain or .gz, with a blank line between documents"""  # noqa: E501
    data: str | None = None
    """a directory of token arrays made by `prepare`, instead of --corpus"""
    resume: bool = False
    """continue from the newest saved state"""

    model: str | None = None
    """tiny, mini, small, medium, base or large, or the path of a config .json; mini if there is no --init"""
    init: str | None = None
    """a model directory to start from instead of fresh weights; its config and tokenizer are used"""
    recipe: str = "fast"
    """fast, paper, or the path of a .toml file: the defaults of the options below"""

    steps: Annotated[int | None, cli.Range(low=1)] = None
    """optimizer steps; or give --minutes or --passes"""
    minutes: Annotated[float | None, cli.Range(above=0)] = None
    """minutes of training, not counting preparation, evaluation and saving"""
    passes: Annotated[float | None, cli.Range(above=0)] = None
    """times that the run reads as much text as there is to train on"""
    seq_len: int | None = None
    """tokens in a sequence, including special ones; replaces the recipe's phases"""
    phases: tuple[tuple[int, float], ...] = ((128, 1.0),)
    """sequence length and share of the run, for each phase"""
    batch_size: cli.Count = 64
    """sequences per step, over all processes"""
    accumulate: cli.Count = 1
    """micro-batches that each process splits its part of a batch into: less memory, same gradient except for dropout"""

    optimizer: Literal["adamw", "muon"] = "muon"
    """muon: Muon for the matrices of the blocks, AdamW for the rest"""
    learning_rate: Annotated[float | None, cli.Range(above=0, high=1)] = None
    """peak learning rate of AdamW; not given: by rule, from the model's width and the run's length"""
    block_learning_rate: Annotated[float | None, cli.Range(above=0, high=1)] = None
    """peak learning rate of Muon; not given: by rule"""
    betas: Annotated[tuple[float, float], cli.Range(low=0, below=1)] = (0.9, 0.98)
    """AdamW's decay rates for its two moments"""
    eps: cli.AboveZeroToOne = 1e-8
    """AdamW's epsilon"""
    weight_decay: cli.ZeroToOne = 0.01
    """decoupled weight decay of matrices; biases and LayerNorm are exempt"""
    clip_norm: cli.NotNegative = 1.0
    """maximum norm of the whole gradient; 0: no clipping"""
    warmup_share: cli.ZeroToOne = 0.05
    """share of the run in which the learning rate rises from 0"""
    decay_share: cli.ZeroToOne = 0.95
    """share of the run, at its end, in which the learning rate falls linearly to 0"""

    first_weights: Literal["random", "neighbours"] = "neighbours"
    """random: N(0, 0.02); neighbours: computed from the text: a bias from token frequencies, embeddings from each token's neighbours, and heads that attend to adjacent words"""  # noqa: E501
    dropout: Annotated[float | None, cli.Range(low=0, below=1)] = None
    """dropout during pretraining; not given: by rule, from the passes over the text; the model's config.json keeps its own, for fine-tuning"""  # noqa: E501
    mask_rate: cli.BetweenZeroAndOne = 0.3
    """share of the tokens that are masked in training; evaluation always uses 0.15"""
    whole_word_mask: bool = False
    """mask whole words, not single pieces"""
    word_segmenter: Segmenter | None = None
    """jieba: with --whole-word-mask, segment Chinese into words and mask each word's characters together (needs the optional dependency `zh`)"""  # noqa: E501
    pair_objective: PairObjective = "nsp"
    """nsp: next-sentence prediction on pairs; sop: sentence-order prediction on consecutive segments, half of the pairs swapped; none: single segments, no pooler"""  # noqa: E501
    no_nsp: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """short for --pair-objective none"""
    short_share: cli.ZeroToOne = 0.1
    """share of the sequences that are made shorter on purpose"""

    vocab_size: int = 8192
    """size of the vocabulary to train on the corpus, in tokens"""
    tokenizer_kind: Kind = "wordpiece"
    """kind of vocabulary to train: wordpiece (BERT's), bpe (RoBERTa's, byte-level) or unigram (ALBERT's)"""
    lowercase: bool = True
    """lower-case the text and remove accents before tokenising; --no-lowercase keeps case and accents, as bpe does"""
    tokenizer: str | None = None
    """a directory with a tokenizer to use instead of training one"""
    sentence_per_line: bool = False
    """each line of the corpus is one sentence; otherwise text is split into sentences"""
    document_per_line: bool = False
    """each line of a text file is a document; otherwise a blank line ends one"""
    drop_duplicates: bool = False
    """drop documents, and paragraphs of 60 characters or more, that repeat earlier ones word for word"""
    text_field: str = "text"
    """the field of a .jsonl line that holds the text"""

    keep_at: str | None = None
    """where to keep the model along the way, in RUN/kept, with its held-out figures: words seen (500k or 2.5M), shares of the run (50%) and steps (1000steps), with commas between them"""  # noqa: E501
    save_every: cli.Count = 500
    """steps between saved states; the last two are kept"""
    save_seconds: cli.Positive = 120.0
    """longest time between saved states, in seconds of training"""
    evaluations: cli.Count = 10
    """number of evaluations on held-out documents during the run, including the one at the end"""
    log_every: cli.Count = 10
    """steps between lines in metrics.jsonl"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a GPU if there is one"""
    dtype: Literal["auto", "float32", "bfloat16", "float64"] = "auto"
    """number format of matrix products; auto: bfloat16 if the machine is fast with it; float64 is for verification"""
    compile: Literal["auto", "yes", "no"] = "auto"
    """torch.compile, for a GPU; it takes up to a minute and needs a C compiler; auto: if --minutes is 10 or more"""
    seed: cli.Seed = 0
    """seed of fresh weights, pairs, masks and dropout"""

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
        raise InputError(f"{name}: {', '.join(unknown)}: not an option that a recipe can set{near}")
    with naming(name):
        return {"recipe": name, **{key: typed(value, types[key], key) for key, value in recipe.items()}}
