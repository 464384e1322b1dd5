"""The options of the benchmarks. Imports nothing heavy."""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import tyro

from minibert.console import cli
from minibert.errors import InputError

FINETUNE = """Fine-tune the same weights for the same task, ours and a peer in turns, and compare figures and speed.

  python -m benchmarks finetune --task cola --model HF_DIR --data ../shared/data/cola --json runs/cola.json

Needed in --data: cola: train.tsv, dev.tsv; stsb: sts-train.csv, sts-dev.csv; wnut17: train.conll, dev.conll; squad:
train-v1.1-subset44.json.gz, dev-v1.1.json.gz; choices: train-v1.1-subset44.json.gz, of which questions with four
choices are made."""


@dataclass(frozen=True)
class FinetuneOptions:
    """What is compared."""

    task: Literal["cola", "stsb", "wnut17", "squad", "choices"]
    """the task"""
    model: str
    """a Hugging Face directory with the weights that both begin with"""
    data: str
    """the directory of the task's files"""
    peer: Literal["transformers"] = "transformers"
    """what ours is compared with: the transformers Trainer, as it runs without more"""
    seeds: int = 3
    """runs of each side, with the seeds from 0 on"""
    epochs: int | None = None
    """times that the training file is gone through; none: 3, with squad 2"""
    learning_rate: float | None = None
    """peak learning rate; none: 5e-5"""
    batch_size: int | None = None
    """examples in a step; none: 32, with choices 16"""
    train_limit: int | None = None
    """train on so many examples, drawn once; none: all"""
    dev_limit: int | None = None
    """score so many examples, drawn once; none: all"""
    ours_only: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """run ours alone"""
    peer_only: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """run the peer alone"""
    threads: int | None = None
    """threads of both; none: as many as there are cores"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """of both; auto: a GPU where there is one"""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """of our matrix products; auto: bfloat16 where the machine multiplies it fast. The peer's is its own"""
    json: str | None = None
    """a file to keep each run's results in; runs that are in it already are not repeated"""

    def check(self) -> None:
        """Raises InputError: an option out of range, or two that exclude each other."""
        for name in ("seeds", "epochs", "batch_size", "train_limit", "dev_limit", "threads"):
            cli.check_range(self, name, low=1)
        cli.check_range(self, "learning_rate", above=0, high=1)
        if self.ours_only and self.peer_only:
            raise InputError("--ours-only and --peer-only exclude each other")


ENCODE = """Make vectors of texts, ours and a peer in turns, and compare speed, latency and how good they are.

  python -m benchmarks encode --model HF_DIR --data ../shared/data/stsb/sts-test.csv --peer onnxruntime

The texts are the sentences of STS-B, each computed in every pass, tokenizing included; of each pair the cosine stands
beside its score."""

Peer = Literal["sentence-transformers", "onnxruntime", "transformers", "transformers-autocast", "transformers-bfloat16"]


@dataclass(frozen=True)
class EncodeOptions:
    """What is compared."""

    model: str
    """a Hugging Face directory of an encoder"""
    data: str
    """a file of STS-B: score and sentences in the fifth to seventh column, between tabs"""
    peer: Peer = "sentence-transformers"
    """what ours is compared with: sentence-transformers and onnxruntime in float32, transformers in float32, under autocast to bfloat16, or cast to it"""  # noqa: E501
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """of ours"""
    repeats: int = 3
    """processes of each side"""
    passes: int = 3
    """passes over all texts in each, after one that is not counted"""
    singles: int = 200
    """texts that are encoded one by one as well, for the latency"""
    batch_size: int = 32
    """texts at once of the peer; ours fills its batches by tokens"""
    threads: int | None = None
    """threads of both; none: as many as there are cores"""
    json: str | None = None
    """a file to keep each run's results in; runs that are in it already are not repeated"""

    def check(self) -> None:
        """Raises InputError: an option out of range."""
        for name in ("repeats", "passes", "singles", "batch_size", "threads"):
            cli.check_range(self, name, low=1)


PRETRAIN = """Pretrain from the same first weights on the same batches, ours and a peer in turns, and compare speed.

  python -m benchmarks pretrain --model mini --tokenizer HF_DIR --batch-size 32 --peer transformers-autocast
  python -m benchmarks pretrain --model mini --dtype float32 --dropout 0 --steps 100 --warm-up 0 --peer transformers

The peer is the loop that one writes around transformers' BertForPreTraining, with fused AdamW. Both have the paper's
recipe. In float32 without dropout the losses of all steps are compared as well."""


@dataclass(frozen=True)
class PretrainBenchmarkOptions:
    """What is compared."""

    model: str = "mini"
    """tiny, mini, small, medium, base or large, or the path of a config .json"""
    corpus: str = "pydocs"
    """what `python -m pretrain --corpus` takes"""
    tokenizer: str | None = None
    """a directory with a tokenizer; none: a vocabulary of --vocab-size is trained on the corpus"""
    vocab_size: int = 8192
    """tokens of that vocabulary"""
    peer: Literal["transformers", "transformers-autocast", "transformers-bfloat16"] = "transformers-autocast"
    """in float32, under autocast to bfloat16, or the model cast to bfloat16"""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """of our matrix products"""
    batch_size: int = 32
    """sequences in a step"""
    seq_len: int = 128
    """tokens in a sequence"""
    steps: int = 40
    """optimizer steps of a run"""
    warm_up: int = 10
    """of which the first ones are not timed"""
    repeats: int = 3
    """runs of each side; each has its own seed"""
    learning_rate: float = 1e-4
    """peak learning rate"""
    dropout: float = 0.1
    """dropout"""
    compile: Literal["no", "yes"] = "no"
    """ours by torch.compile, on a GPU"""
    threads: int | None = None
    """threads of both; none: as many as there are cores"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """of both; auto: a GPU where there is one"""
    json: str | None = None
    """a file to keep each run's results in; runs that are in it already are not repeated"""

    def check(self) -> None:
        """Raises InputError: an option out of range."""
        for name in ("batch_size", "repeats", "threads", "vocab_size"):
            cli.check_range(self, name, low=1)
        cli.check_range(self, "seq_len", low=8)
        cli.check_range(self, "warm_up", low=0)
        cli.check_range(self, "steps", low=self.warm_up + 1)
        cli.check_range(self, "learning_rate", above=0, high=1)
        cli.check_range(self, "dropout", low=0, below=1)


QUALITY = """How soon a held-out loss is reached: `python -m pretrain --recipe fast` against a loop around transformers.

The loop has the paper's recipe, over so many minutes, and is run once with each learning rate; the lowest loss is the
one to reach. Both train on the same arrays, are timed alike (steps alone), and are scored alike on the same masks.

  python -m benchmarks quality --model mini --json runs/quality.json"""


@dataclass(frozen=True)
class QualityOptions:
    """What is compared."""

    model: str = "mini"
    """tiny, mini, small, medium, base or large, or the path of a config .json"""
    corpus: str = "pydocs"
    """what `python -m pretrain --corpus` takes"""
    tokenizer: str | None = None
    """a directory with a tokenizer; none: a vocabulary of --vocab-size is trained on the corpus"""
    vocab_size: int = 8192
    """tokens of that vocabulary"""
    minutes: float = 3.0
    """of ours"""
    peer: Literal["transformers", "transformers-autocast", "transformers-bfloat16"] = "transformers-autocast"
    """in float32, under autocast to bfloat16, or the model cast to bfloat16"""
    peer_minutes: float = 20.0
    """of the loop"""
    learning_rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    """its peak rates"""
    batch_size: int = 32
    """sequences in its steps; ours has the recipe's"""
    seq_len: int = 128
    """tokens in a sequence"""
    repeats: int = 1
    """runs of ours, each with its own seed"""
    threads: int | None = None
    """threads of both; none: as many as there are cores"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """of both; auto: a GPU where there is one"""
    json: str | None = None
    """a file to keep each run's results in; runs that are in it already are not repeated"""

    def check(self) -> None:
        """Raises InputError: an option out of range."""
        for name in ("batch_size", "repeats", "threads", "vocab_size"):
            cli.check_range(self, name, low=1)
        cli.check_range(self, "seq_len", low=8)
        for name in ("minutes", "peer_minutes"):
            cli.check_range(self, name, above=0)
        if not self.learning_rates or not all(0 < rate <= 1 for rate in self.learning_rates):
            raise InputError(f"--learning-rates must be numbers above 0 and at most 1, not {self.learning_rates}")


PREPARE = """Turn a text file into token arrays and these into batches, and tell how fast.

  python -m benchmarks prepare --corpus ../shared/data/wikitext-2/train.txt.gz --tokenizer HF_DIR"""


@dataclass(frozen=True)
class PrepareBenchmarkOptions:
    """What is timed."""

    corpus: str
    """a text file, as `python -m pretrain prepare` takes it"""
    tokenizer: str | None = None
    """a directory with a tokenizer; none: a vocabulary of --vocab-size is trained, which is timed too"""
    vocab_size: int = 8192
    """tokens of that vocabulary"""
    processes: int | None = None
    """that make the arrays; none: as many as there are cores"""
    batch_size: int = 32
    """sequences in a batch"""
    seq_len: int = 128
    """tokens in a sequence"""
    batches: int = 200
    """batches that are made in the end, by one thread"""
    repeats: int = 3
    """times that all is done"""
    json: str | None = None
    """a file to keep each run's results in; runs that are in it already are not repeated"""

    def check(self) -> None:
        """Raises InputError: an option out of range."""
        for name in ("vocab_size", "processes", "batch_size", "batches", "repeats"):
            cli.check_range(self, name, low=1)
        cli.check_range(self, "seq_len", low=8)


SUITE = """Run the comparisons behind the tables of docs/performance.md, and write these tables. Takes over two hours.

  python -m benchmarks all --model HF_DIR --data ../shared/data

What was stopped goes on: results that are there already are not measured again."""

Section = Literal["pretrain", "quality", "finetune", "encode", "prepare"]


@dataclass(frozen=True)
class SuiteOptions:
    """What is run, and where its results go."""

    model: str
    """a Hugging Face directory of an encoder with BERT's vocabulary: all-MiniLM-L6-v2"""
    data: str
    """a directory with stsb/sts-test.csv, cola/train.tsv and dev.tsv, and wikitext-2/train.txt.gz"""
    only: tuple[Section, ...] = ()
    """benchmarks to run; none: all, on a GPU those that can be run there"""
    out: str = "runs/bench"
    """a directory for the results, one for each device in it"""
    docs: str = "docs/performance.md"
    """the file whose tables are written"""
    device: Literal["cpu", "cuda"] = "cpu"
    """of pretrain, quality and finetune; the others measure the processor"""
    tables_only: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """run nothing, write the tables from the results that are there"""

    def sections(self) -> tuple[Section, ...]:
        """The benchmarks to run."""
        return self.only or (ON_GPU if self.device == "cuda" else get_args(Section))

    def check(self) -> None:
        """Raises InputError: a benchmark that has nothing to do with the device."""
        if self.device == "cuda" and (others := [name for name in self.only if name not in ON_GPU]):
            raise InputError(f"--only {others[0]}: measures the processor, so it goes without --device cuda")


ON_GPU: tuple[Section, ...] = ("pretrain", "quality", "finetune")
