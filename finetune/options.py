"""The options of fine-tuning: one dataclass for all tasks, and for each task how it reads its files."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro

from finetune import command_line
from finetune.data.data_options import DATA_OPTIONS, DataOptions, TagDataOptions, check_effect, check_fields
from minibert.console import cli
from minibert.errors import InputError
from minibert.files.tables import COLUMN_FILES
from minibert.files.tally import OnBadRow
from minibert.files.text import LONE_SURROGATE, STANDARD_INPUT, suffix
from minibert.training.run_directory import as_toml, plain_values

DESCRIPTIONS = {
    "text-classification": """Fine-tune a model to classify texts or pairs of texts, or to score them (--regression).

  python -m finetune text-classification --model models/base --train reviews.csv --out runs/reviews
  python -m finetune predict runs/reviews --input new.txt --output answers.jsonl""",
    "token-classification": """Fine-tune a model to tag words, for example as names, keywords or parts of speech.

  python -m finetune token-classification --model models/base --train train.conll --dev dev.conll --out runs/names
  python -m finetune evaluate runs/names --data test.conll""",
    "question-answering": """Fine-tune a model to find the answer to a question in a passage.

  python -m finetune question-answering --model models/base --train train.json --dev dev.json --out runs/qa
  python -m finetune predict runs/qa --input questions.json --output answers.jsonl""",
    "multiple-choice": """Fine-tune a model to choose the right one of several answers or endings.

  python -m finetune multiple-choice --model models/base --train train.jsonl --out runs/choice
  python -m finetune evaluate runs/choice --data test.jsonl""",
}

# What `--help` shows together, below the options that matter first.
GROUPS = {
    "rows_and_results": "on_bad_row dev_share metric new_head",
    "training_method": "freeze_encoder lora_rank lora_alpha lora_targets",
    "loss_and_stopping": "class_weights label_smoothing early_stop",
    "optimisation": "accumulate warmup_share weight_decay clip_norm layer_decay",
    "saving": "save_every save_seconds log_every",
    "machine_and_seed": "seeds seed device dtype",
}

# Why an option has no effect on a task, or on a kind of text classification.
NO_CLASSES = {
    "regression": "a number has no class",
    "question-answering": "a place in a passage has no class",
    "multiple-choice": "choices differ from question to question, and have no class",
}
NO_CHOICE = {
    "regression": "a number isn't chosen among several",
    "multi_label_classification": "each label applies or not; none is chosen among several",
}

# The default peak learning rates. A few parameters that begin at random need larger steps than many that are nearly
# right.
LEARNING_RATES = {"full": 5e-5, "lora": 1e-3, "frozen": 1e-3}


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """The options of a fine-tuning run. Everything that decides the result is here and is saved as `run.toml`."""

    model: Annotated[str, tyro.conf.arg(metavar="DIR")]
    """the model directory to start from"""
    train: Annotated[str, tyro.conf.arg(metavar="FILE")]
    """the file of labelled examples to train on"""
    dev: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """the file by which the best epoch is chosen; if not given: a share of --train is held out for this"""
    test: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """a file to score once, at the end, with the model of the best epoch"""
    out: Annotated[str, tyro.conf.arg(metavar="DIR")]
    """the run's directory, to which the model, its figures and its curves are written"""
    resume: bool = False
    """continue the run in --out from its newest saved state, or start it if there is none"""
    on_bad_row: OnBadRow = "stop"
    """what to do with a row that can't be used; stop: end the run; skip: leave it out, report it, and list it in
    skipped.txt"""
    dev_share: cli.BetweenZeroAndOne = 0.1
    """share of --train that is held out if there is no --dev"""
    new_head: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """start with a new head, instead of the model's own; needed if that one is for another task or other labels"""

    epochs: cli.Count = 3
    """passes over the training file"""
    learning_rate: Annotated[float | None, cli.Range(above=0, high=1), tyro.conf.arg(metavar="FLOAT")] = None
    """peak learning rate; if not given: 5e-5, or 1e-3 with --lora-rank or --freeze-encoder"""
    batch_size: cli.Count = 32
    """examples per step, over all processes"""
    accumulate: cli.Count = 1
    """number of micro-batches that each process splits its part of a batch into; more of them need less memory, and the
    gradient is the same except for dropout"""
    warmup_share: cli.ZeroToOne = 0.1
    """share of the run, at its start, in which the learning rate rises linearly from 0; after that it falls linearly to
    0"""
    weight_decay: cli.ZeroToOne = 0.01
    """decoupled weight decay of matrices; biases and LayerNorm are exempt"""
    clip_norm: cli.NotNegative = 1.0
    """maximum norm of the whole gradient; 0: no clipping"""
    layer_decay: cli.AboveZeroToOne = 1.0
    """learning rate of each layer, as a multiple of that of the layer above it; below 1, the lower layers
    change less"""
    class_weights: Annotated[str | None, tyro.conf.arg(metavar="balanced|FILE.json")] = None
    """how much the examples of each class (in token classification, its words) weigh in the loss; balanced: all classes
    have the same total weight (if examples can have several labels: those with a label weigh as much as those without
    it); or a JSON file with a weight for each label; if not given: all weigh the same"""
    label_smoothing: Annotated[float | None, cli.Range(low=0, below=1), tyro.conf.arg(metavar="FLOAT")] = None
    """share of each target that is spread evenly over all possible answers; if not given: 0"""
    early_stop: Annotated[int | None, cli.Range(low=1), tyro.conf.arg(metavar="INT")] = None
    """end the run after this many epochs in a row without a better figure on dev; the learning rate still falls as it
    would over all --epochs; if not given: train for all --epochs"""
    metric: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """the figure on dev by which the best epoch is chosen, such as mcc for text classification or f1 for question
    answering; if not given: the task's usual one"""

    freeze_encoder: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """train only the head; the encoder's hidden states are computed once, not in every epoch"""
    lora_rank: Annotated[int | None, cli.Range(low=1), tyro.conf.arg(metavar="INT")] = None
    """train low-rank adapters (LoRA) of this rank, and the head, instead of all weights; at the end the adapters are
    merged into the attention weights"""
    lora_alpha: cli.Positive = 16.0
    """what the adapters add is scaled by --lora-alpha / --lora-rank"""
    lora_targets: Annotated[
        tuple[Literal["query", "key", "value"], ...], tyro.conf.arg(metavar="{query,key,value} [...]")
    ] = ("query", "value")
    """the attention projections that get adapters"""

    seeds: Annotated[int, cli.Range(low=1, high=1000)] = 1
    """number of runs, with consecutive seeds from --seed; the model of the run with the median dev figure is kept (if
    their number is even, the lower of the middle two)"""
    seed: int = 0
    """seed of the head's initial weights, the held-out examples, the order of batches and dropout"""
    save_every: cli.Count = 1000
    """steps between saved states, from which --resume continues; one is also saved after each epoch, and the last two
    are kept"""
    save_seconds: cli.Positive = 120.0
    """longest time between saved states, in seconds of training"""
    log_every: cli.Count = 10
    """steps between lines in metrics.jsonl"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """where to compute; auto: a GPU if there is one, or else the CPU"""
    dtype: Literal["auto", "float32", "bfloat16", "float64"] = "auto"
    """number format of matrix products; auto: bfloat16 if the hardware is fast with it, or else float32; float64 is for
    verification"""
    data_options: DataOptions
    """how the task reads its files"""

    @property
    def method(self) -> str:
        """What is trained: full, lora or frozen."""
        return "frozen" if self.freeze_encoder else "lora" if self.lora_rank is not None else "full"

    @property
    def peak_rate(self) -> float:
        return LEARNING_RATES[self.method] if self.learning_rate is None else self.learning_rate

    def check(self) -> None:
        """Raises InputError if an option is missing, out of range, or contradicts another; the message names it."""
        for name in ("model", "train", "out"):
            if not getattr(self, name):
                raise InputError(f"--{name} is missing (see python -m finetune {self.data_options.task} --help)")
        for name in ("train", "dev", "test"):
            if getattr(self, name) == STANDARD_INPUT:
                raise InputError(f"--{name} {STANDARD_INPUT}: expected a file, because a resumed run reads it again")
        cli.check_ranges(self)
        cli.check_range(self, "seed", low=0, high=2**32 - 1 - self.seeds)
        if self.freeze_encoder and self.lora_rank is not None:
            raise InputError("--freeze-encoder and --lora-rank are mutually exclusive")
        if self.early_stop is not None and self.early_stop > self.epochs - 2:  # the first epoch is always better
            raise InputError(
                f"--early-stop {self.early_stop} has no effect here: with --epochs {self.epochs} it can't end the run "
                f"before the last epoch; expected --epochs {self.early_stop + 2} or more"
            )
        if not self.lora_targets or len(set(self.lora_targets)) < len(self.lora_targets):
            raise InputError("--lora-targets: expected query, key or value, each once")
        self.data_options.check()
        for name, value in {**self.decisive(), "out": self.out}.items():
            if isinstance(value, str) and LONE_SURROGATE.search(value):  # from a byte that is not UTF-8
                raise InputError(f"--{name.replace('_', '-')}: {value!r} is not UTF-8, which the run's files need")

    def to_toml(self) -> str:
        """Return all options that decide the result, as TOML."""
        return as_toml(self.decisive(), "The resolved configuration of this run.")

    def decisive(self) -> dict[str, Any]:
        """Return the options that decide the result, as plain values: a resumed run must have the same."""
        fields = plain_values(self, without=NOT_DECISIVE)
        data_options = fields.pop("data_options")
        return {"task": self.data_options.task, **fields, **data_options}


# Where a run is written, and how often it reports; and whether a bad row ends it: a run that got past reading had no
# bad rows, or skipped them.
NOT_DECISIVE = {"out", "resume", "on_bad_row", "save_every", "save_seconds", "log_every", "device"}


def parse_options(task: str, args: Sequence[str]) -> TrainingOptions:
    """Return the options of a run. Raises InputError if one is unknown or impossible, or would change nothing."""
    options = command_line.parse(
        TrainingOptions,
        args or ["--help"],
        prog=f"python -m finetune {task}",
        description=DESCRIPTIONS[task],
        data_options=DATA_OPTIONS[task](),
        unused={"--layout"} | ({"--class-weights"} if task in NO_CLASSES else set()),
        groups=GROUPS,
    )
    options.check()
    given = cli.given_options(args)
    if options.lora_rank is None:
        cli.refuse(given, ("--lora-alpha", "--lora-targets"), "there is no --lora-rank")
    if options.dev is not None:
        cli.refuse(given, ("--dev-share",), "--dev is given")
    cli.refuse(given, ("--layout",), "only columns and .jsonl have tags to train on")
    files = [path for path in (options.train, options.dev, options.test) if path is not None]
    check_fields(given, options.data_options, files)
    cuts_words = isinstance(options.data_options, TagDataOptions) and options.data_options.cuts_words
    if cuts_words and not any(suffix(path) in COLUMN_FILES for path in files):
        check_effect(given, options.data_options, "segmented")
    kind = getattr(options.data_options, "problem_type", task)
    for name, reasons in {"--class-weights": NO_CLASSES, "--label-smoothing": NO_CHOICE}.items():
        if kind in reasons:
            cli.refuse(given, (name,), reasons[kind])
    if options.method != "full":
        cli.refuse(given, ("--layer-decay",), "the layers are not trained")
    return options
