"""The options of the benchmarks. Imports nothing heavy."""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import tyro

from minibert.console import cli
from minibert.errors import InputError

FINETUNE = """Fine-tune the same weights for the same task with minibert and a peer, taking turns; compare figures and
speed.

  python -m benchmarks finetune --task cola --model HF_DIR --data ../shared/data/cola --json runs/cola.json

The files that --data must hold: for cola train.tsv and dev.tsv; for stsb sts-train.csv and sts-dev.csv; for wnut17
train.conll and dev.conll; for squad train-v1.1-subset44.json.gz and dev-v1.1.json.gz; for choices
train-v1.1-subset44.json.gz, whose questions become multiple choice with four answers each."""


@dataclass(frozen=True)
class FinetuneOptions:
    """What is compared, and with which settings."""

    task: Literal["cola", "stsb", "wnut17", "squad", "choices"]
    """the task to train for"""
    model: str
    """a Hugging Face directory with the weights that both sides start from"""
    data: str
    """the directory that holds the task's files"""
    peer: Literal["transformers"] = "transformers"
    """what minibert is compared with: the transformers Trainer with its defaults"""
    seeds: int = 3
    """runs of each side, with consecutive seeds from 0"""
    epochs: int | None = None
    """passes over the training file; if not given: 3, or 2 for squad"""
    learning_rate: float | None = None
    """peak learning rate; if not given: 5e-5"""
    batch_size: int | None = None
    """examples per step; if not given: 32, or 16 for choices"""
    train_limit: int | None = None
    """train on this many examples, drawn once; if not given: on all"""
    dev_limit: int | None = None
    """score this many examples, drawn once; if not given: all"""
    ours_only: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """run only minibert"""
    peer_only: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """run only the peer"""
    threads: int | None = None
    """threads of each side; if not given: as many as there are cores"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """the device of both sides; auto: a GPU if there is one"""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """number format of minibert's matrix products; auto: bfloat16 if the machine is fast with it"""
    json: str | None = None
    """a file to keep the results of all runs in; runs that it already holds are not repeated"""

    def check(self) -> None:
        """Raises InputError if an option is out of range, or if two exclude each other."""
        for name in ("seeds", "epochs", "batch_size", "train_limit", "dev_limit", "threads"):
            cli.check_range(self, name, low=1)
        cli.check_range(self, "learning_rate", above=0, high=1)
        if self.ours_only and self.peer_only:
            raise InputError("--ours-only and --peer-only are mutually exclusive")


ENCODE = """Encode texts as vectors with minibert and a peer, taking turns; compare speed, latency and quality.

  python -m benchmarks encode --model HF_DIR --data ../shared/data/stsb/sts-test.csv --peer onnxruntime

The texts are the sentences of STS-B, each encoded anew in every pass, including tokenisation. Quality is the
correlation of the cosines of the pairs with their scores."""

Peer = Literal["sentence-transformers", "onnxruntime", "transformers", "transformers-autocast", "transformers-bfloat16"]


@dataclass(frozen=True)
class EncodeOptions:
    """What is compared, and with which settings."""

    model: str
    """a Hugging Face directory of an encoder"""
    data: str
    """a file of STS-B: tab-separated, with the score and the two sentences in columns 5 to 7"""
    peer: Peer = "sentence-transformers"
    """what minibert is compared with: sentence-transformers or onnxruntime in float32; transformers in float32, under autocast to bfloat16, or cast to bfloat16"""  # noqa: E501
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """number format of minibert"""
    repeats: int = 3
    """processes per side"""
    passes: int = 3
    """passes over all texts in each process, after one that is not counted"""
    singles: int = 200
    """texts that are also encoded one at a time, for the latency"""
    batch_size: int = 32
    """texts in a batch of the peer; minibert fills its batches by tokens"""
    threads: int | None = None
    """threads of each side; if not given: as many as there are cores"""
    json: str | None = None
    """a file to keep the results of all runs in; runs that it already holds are not repeated"""

    def check(self) -> None:
        """Raises InputError if an option is out of range."""
        for name in ("repeats", "passes", "singles", "batch_size", "threads"):
            cli.check_range(self, name, low=1)


LONG = """Encode one long text with minibert's Longformer, with that of transformers, and with minibert's full
attention, taking turns; compare time and memory by the length of the text.

  python -m benchmarks long --model HF_DIR --json runs/long.json

The text is random tokens. Memory is the peak above that of the loaded model, which Linux measures."""


@dataclass(frozen=True)
class LongOptions:
    """What is compared, and with which settings."""

    model: str
    """a Hugging Face directory of a Longformer"""
    lengths: tuple[int, ...] = (512, 1024, 2048, 4096)
    """the lengths of the text, in tokens"""
    global_tokens: int = 0
    """tokens at the beginning that are global"""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """number format of all sides"""
    repeats: int = 3
    """processes per side and length"""
    passes: int = 5
    """passes in each process, after one that is not counted"""
    threads: int | None = None
    """threads of each side; if not given: as many as there are cores"""
    json: str | None = None
    """a file to keep the results of all runs in; runs that it already holds are not repeated"""

    def check(self) -> None:
        """Raises InputError if an option is out of range."""
        for name in ("repeats", "passes", "threads"):
            cli.check_range(self, name, low=1)
        cli.check_range(self, "global_tokens", low=0)
        for tokens in self.lengths:
            cli.Range(low=1).check("lengths", tokens)


SCORE = """Score sentences by pseudo-log-likelihood with minibert and with a loop around transformers, taking turns;
compare speed and scores.

  python -m benchmarks score --model HF_DIR --data ../shared/data/blimp/blimp.jsonl.gz --json runs/score.json

The loop puts all masked copies of one sentence in one batch. Tokenisation is included on both sides."""


@dataclass(frozen=True)
class ScoreBenchmarkOptions:
    """What is compared, and with which settings."""

    model: str
    """a Hugging Face directory of a model with a masked-LM head"""
    data: str
    """a file of pairs as BLiMP has them; the sentences scored are spread evenly over it"""
    pairs: int = 500
    """pairs that are scored"""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """number format of both sides"""
    repeats: int = 3
    """processes per side"""
    threads: int | None = None
    """threads of each side; if not given: as many as there are cores"""
    json: str | None = None
    """a file to keep the results of all runs in; runs that it already holds are not repeated"""

    def check(self) -> None:
        """Raises InputError if an option is out of range."""
        for name in ("pairs", "repeats", "threads"):
            cli.check_range(self, name, low=1)


PRETRAIN = """Pretrain from the same first weights on the same batches with minibert and a peer, taking turns; compare
speed.

  python -m benchmarks pretrain --model mini --tokenizer HF_DIR --batch-size 32 --peer transformers-autocast
  python -m benchmarks pretrain --model mini --dtype float32 --dropout 0 --steps 100 --warm-up 0 --peer transformers

The peer is the usual loop around transformers' BertForPreTraining, with fused AdamW. Both have the paper's recipe. In
float32 without dropout, the losses of all steps are compared as well."""


@dataclass(frozen=True)
class PretrainBenchmarkOptions:
    """What is compared, and with which settings."""

    model: str = "mini"
    """tiny, mini, small, medium, base or large, or the path of a config .json"""
    corpus: str = "pydocs"
    """the text, as `python -m pretrain --corpus` takes it"""
    tokenizer: str | None = None
    """a directory with a tokenizer; if not given: a vocabulary of --vocab-size is trained on the corpus"""
    vocab_size: int = 8192
    """tokens of that vocabulary"""
    peer: Literal["transformers", "transformers-autocast", "transformers-bfloat16"] = "transformers-autocast"
    """what minibert is compared with: transformers in float32, under autocast to bfloat16, or cast to bfloat16"""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """number format of minibert's matrix products"""
    batch_size: int = 32
    """sequences per step"""
    seq_len: int = 128
    """tokens in a sequence"""
    steps: int = 40
    """optimizer steps per run"""
    warm_up: int = 10
    """steps at the start of a run that are not timed"""
    repeats: int = 3
    """runs of each side, each with its own seed"""
    learning_rate: float = 1e-4
    """peak learning rate"""
    dropout: float = 0.1
    """dropout of both sides"""
    compile: Literal["no", "yes"] = "no"
    """yes: minibert is compiled with torch.compile, on a GPU"""
    threads: int | None = None
    """threads of each side; if not given: as many as there are cores"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """the device of both sides; auto: a GPU if there is one"""
    json: str | None = None
    """a file to keep the results of all runs in; runs that it already holds are not repeated"""

    def check(self) -> None:
        """Raises InputError if an option is out of range."""
        for name in ("batch_size", "repeats", "threads", "vocab_size"):
            cli.check_range(self, name, low=1)
        cli.check_range(self, "seq_len", low=8)
        cli.check_range(self, "warm_up", low=0)
        cli.check_range(self, "steps", low=self.warm_up + 1)
        cli.check_range(self, "learning_rate", above=0, high=1)
        cli.check_range(self, "dropout", low=0, below=1)


QUALITY = """Compare how soon `python -m pretrain --recipe fast` and a loop around transformers reach a held-out loss.

The loop has the paper's recipe and runs for --peer-minutes, once with each learning rate; its lowest loss is the one to
reach. Both sides train on the same arrays, have only their steps timed, and are scored on the same masks.

  python -m benchmarks quality --model mini --json runs/quality.json"""


@dataclass(frozen=True)
class QualityOptions:
    """What is compared, and with which settings."""

    model: str = "mini"
    """tiny, mini, small, medium, base or large, or the path of a config .json"""
    corpus: str = "pydocs"
    """the text, as `python -m pretrain --corpus` takes it"""
    tokenizer: str | None = None
    """a directory with a tokenizer; if not given: a vocabulary of --vocab-size is trained on the corpus"""
    vocab_size: int = 8192
    """tokens of that vocabulary"""
    minutes: float = 3.0
    """minutes that minibert trains"""
    peer: Literal["transformers", "transformers-autocast", "transformers-bfloat16"] = "transformers-autocast"
    """what minibert is compared with: transformers in float32, under autocast to bfloat16, or cast to bfloat16"""
    peer_minutes: float = 20.0
    """minutes that the loop trains, with each learning rate"""
    learning_rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    """peak learning rates of the loop"""
    batch_size: int = 32
    """sequences per step of the loop; minibert takes its recipe's"""
    seq_len: int = 128
    """tokens in a sequence"""
    repeats: int = 1
    """runs of minibert, each with its own seed"""
    threads: int | None = None
    """threads of each side; if not given: as many as there are cores"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """the device of both sides; auto: a GPU if there is one"""
    json: str | None = None
    """a file to keep the results of all runs in; runs that it already holds are not repeated"""

    def check(self) -> None:
        """Raises InputError if an option is out of range."""
        for name in ("batch_size", "repeats", "threads", "vocab_size"):
            cli.check_range(self, name, low=1)
        cli.check_range(self, "seq_len", low=8)
        for name in ("minutes", "peer_minutes"):
            cli.check_range(self, name, above=0)
        if not self.learning_rates or not all(0 < rate <= 1 for rate in self.learning_rates):
            raise InputError(f"--learning-rates must be numbers above 0 and at most 1, not {self.learning_rates}")


PREPARE = """Turn a text file into token arrays, make batches from them, and report the speed of both.

  python -m benchmarks prepare --corpus ../shared/data/wikitext-2/train.txt.gz --tokenizer HF_DIR"""


@dataclass(frozen=True)
class PrepareBenchmarkOptions:
    """What is timed, and with which settings."""

    corpus: str
    """a text file, as `python -m pretrain prepare` takes it"""
    tokenizer: str | None = None
    """a directory with a tokenizer; if not given: a vocabulary of --vocab-size is trained, which is timed as well"""
    vocab_size: int = 8192
    """tokens of that vocabulary"""
    processes: int | None = None
    """processes that make the arrays; if not given: as many as there are cores"""
    batch_size: int = 32
    """sequences in a batch"""
    seq_len: int = 128
    """tokens in a sequence"""
    batches: int = 200
    """batches to make from the arrays, on one thread"""
    repeats: int = 3
    """how many times all of this is done"""
    json: str | None = None
    """a file to keep the results of all runs in; runs that it already holds are not repeated"""

    def check(self) -> None:
        """Raises InputError if an option is out of range."""
        for name in ("vocab_size", "processes", "batch_size", "batches", "repeats"):
            cli.check_range(self, name, low=1)
        cli.check_range(self, "seq_len", low=8)


SUITE = """Run the comparisons behind the tables of docs/performance.md, and write these tables. This takes over two
hours.

  python -m benchmarks all --model HF_DIR --data ../shared/data

The same command continues after an interruption: what already has results is not measured again."""

Section = Literal["pretrain", "quality", "finetune", "encode", "prepare"]


@dataclass(frozen=True)
class SuiteOptions:
    """What is run, and where its results are written."""

    model: str
    """a Hugging Face directory of an encoder with BERT's vocabulary, such as all-MiniLM-L6-v2"""
    data: str
    """a directory with stsb/sts-test.csv, cola/train.tsv, cola/dev.tsv and wikitext-2/train.txt.gz"""
    only: tuple[Section, ...] = ()
    """benchmarks to run; if not given: all, or with --device cuda those that can run on a GPU"""
    out: str = "runs/bench"
    """the directory for the results, which go to a subdirectory for each device"""
    docs: str = "docs/performance.md"
    """the file that the tables are written to"""
    device: Literal["cpu", "cuda"] = "cpu"
    """the device of pretrain, quality and finetune; the others measure the processor"""
    tables_only: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """run nothing, only write the tables from the results so far"""

    def sections(self) -> tuple[Section, ...]:
        """Return the benchmarks to run."""
        return self.only or (ON_GPU if self.device == "cuda" else get_args(Section))

    def check(self) -> None:
        """Raises InputError if one of the benchmarks does not run on the device."""
        if self.device == "cuda" and (others := [name for name in self.only if name not in ON_GPU]):
            raise InputError(f"--only {others[0]}: this benchmark measures the processor; leave out --device cuda")


ON_GPU: tuple[Section, ...] = ("pretrain", "quality", "finetune")
