"""The options of the benchmarks. Imports nothing heavy."""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import tyro

from minibert.console import cli
from minibert.errors import InputError

FINETUNE = """Fine-tune the same weights for a task with minibert and with the transformers Trainer, in turn, and
compare figures and speed.

  python -m benchmarks finetune --task cola --model HF_DIR --data ../shared/data/cola --json runs/cola.json

The directory --data must hold the task's files:

  cola     train.tsv, dev.tsv
  stsb     sts-train.csv, sts-dev.csv
  wnut17   train.conll, dev.conll
  squad    train-v1.1-subset44.json.gz, dev-v1.1.json.gz
  choices  train-v1.1-subset44.json.gz, whose questions become multiple choice with four answers each"""


@dataclass(frozen=True)
class FinetuneOptions:
    """What is compared, and with which settings."""

    task: Literal["cola", "stsb", "wnut17", "squad", "choices"]
    """the task to train for"""
    model: Annotated[str, tyro.conf.arg(metavar="HF_DIR")]
    """a Hugging Face directory with the weights that both sides start from"""
    data: Annotated[str, tyro.conf.arg(metavar="DIR")]
    """the directory that holds the task's files"""
    peer: Literal["transformers"] = "transformers"
    """what minibert is compared with: the transformers Trainer, with its defaults"""
    seeds: int = 3
    """number of runs of each side, with consecutive seeds from 0"""
    epochs: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """passes over the training file; if not given: 3, or 2 for squad"""
    learning_rate: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """peak learning rate; if not given: 5e-5"""
    batch_size: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """examples per step; if not given: 32, or 16 for choices"""
    train_limit: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """number of training examples to use, drawn at random once; if not given: all"""
    dev_limit: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """number of dev examples to use, drawn at random once; if not given: all"""
    ours_only: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """run only minibert"""
    peer_only: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """run only the peer"""
    threads: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """threads of each side; if not given: one per core"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """where both sides compute; auto: a GPU if there is one, or else the CPU"""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """number format of minibert's matrix products; auto: bfloat16 if the hardware is fast with it, or else float32"""
    json: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """the JSON file that keeps the results of all runs; runs that it already holds are not repeated"""

    def check(self) -> None:
        """Raises InputError if an option is out of range, or if two exclude each other."""
        for name in ("seeds", "epochs", "batch_size", "train_limit", "dev_limit", "threads"):
            cli.check_range(self, name, low=1)
        cli.check_range(self, "learning_rate", above=0, high=1)
        if self.ours_only and self.peer_only:
            raise InputError("--ours-only and --peer-only are mutually exclusive")


ENCODE = """Turn texts into vectors with minibert and with a peer, in turn, and compare speed, latency and quality.

  python -m benchmarks encode --model HF_DIR --data ../shared/data/stsb/sts-test.csv --peer onnxruntime

The texts are the sentences of STS-B. Every pass tokenises and encodes each of them anew. Quality is the correlation of
the cosine of each pair with the score that people gave it."""

Peer = Literal["sentence-transformers", "onnxruntime", "transformers", "transformers-autocast", "transformers-bfloat16"]


@dataclass(frozen=True)
class EncodeOptions:
    """What is compared, and with which settings."""

    model: Annotated[str, tyro.conf.arg(metavar="HF_DIR")]
    """a Hugging Face directory of an encoder"""
    data: Annotated[str, tyro.conf.arg(metavar="FILE")]
    """a file of STS-B: columns separated by tabs, with the score and the two sentences in columns 5 to 7"""
    peer: Peer = "sentence-transformers"
    """what minibert is compared with: sentence-transformers or onnxruntime in float32; transformers in float32, under autocast to bfloat16, or cast to bfloat16"""  # noqa: E501
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """number format of minibert's weights and hidden states"""
    repeats: int = 3
    """number of processes of each side"""
    passes: int = 3
    """passes over all texts in each process, after one that is not timed"""
    singles: int = 200
    """number of texts that are also encoded one at a time, for the latency"""
    batch_size: int = 32
    """texts in a batch of the peer; minibert fills its batches by tokens"""
    threads: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """threads of each side; if not given: one per core"""
    json: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """the JSON file that keeps the results of all runs; runs that it already holds are not repeated"""

    def check(self) -> None:
        """Raises InputError if an option is out of range."""
        for name in ("repeats", "passes", "singles", "batch_size", "threads"):
            cli.check_range(self, name, low=1)


LONG = """Encode a long text with minibert's Longformer, with that of transformers, and with minibert's full attention,
in turn, and compare time and memory by the length of the text.

  python -m benchmarks long --model HF_DIR --json runs/long.json

The text consists of random tokens. Memory is the peak, as Linux measures it, above that of the loaded model."""


@dataclass(frozen=True)
class LongOptions:
    """What is compared, and with which settings."""

    model: Annotated[str, tyro.conf.arg(metavar="HF_DIR")]
    """a Hugging Face directory of a Longformer"""
    lengths: Annotated[tuple[int, ...], tyro.conf.arg(metavar="INT [INT ...]")] = (512, 1024, 2048, 4096)
    """lengths of the text, in tokens"""
    global_tokens: int = 0
    """number of global tokens, at the beginning of the text"""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """number format of all sides"""
    repeats: int = 3
    """number of processes of each side, for each length"""
    passes: int = 5
    """passes in each process, after one that is not timed"""
    threads: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """threads of each side; if not given: one per core"""
    json: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """the JSON file that keeps the results of all runs; runs that it already holds are not repeated"""

    def check(self) -> None:
        """Raises InputError if an option is out of range."""
        for name in ("repeats", "passes", "threads"):
            cli.check_range(self, name, low=1)
        cli.check_range(self, "global_tokens", low=0)
        for tokens in self.lengths:
            cli.Range(low=1).check("lengths", tokens)


SCORE = """Score sentences by pseudo-log-likelihood with minibert and with a loop around transformers, in turn, and
compare speed and scores.

  python -m benchmarks score --model HF_DIR --data ../shared/data/blimp/blimp.jsonl.gz --json runs/score.json

The loop puts all masked copies of a sentence into one batch. The times of both sides include tokenisation."""


@dataclass(frozen=True)
class ScoreBenchmarkOptions:
    """What is compared, and with which settings."""

    model: Annotated[str, tyro.conf.arg(metavar="HF_DIR")]
    """a Hugging Face directory of a model with a masked-LM head"""
    data: Annotated[str, tyro.conf.arg(metavar="FILE.jsonl")]
    """a file of sentence pairs with BLiMP's fields, sentence_good and sentence_bad"""
    pairs: int = 500
    """number of pairs to score, spread evenly over the file"""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """number format of both sides"""
    repeats: int = 3
    """number of processes of each side"""
    threads: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """threads of each side; if not given: one per core"""
    json: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """the JSON file that keeps the results of all runs; runs that it already holds are not repeated"""

    def check(self) -> None:
        """Raises InputError if an option is out of range."""
        for name in ("pairs", "repeats", "threads"):
            cli.check_range(self, name, low=1)


PRETRAIN = """Pretrain with minibert and with a loop around transformers, in turn, from the same initial weights and on
the same batches, and compare speed.

  python -m benchmarks pretrain --model mini --tokenizer HF_DIR --batch-size 32 --peer transformers-autocast
  python -m benchmarks pretrain --model mini --dtype float32 --dropout 0 --steps 100 --warm-up 0 --peer transformers

The loop is the usual one around transformers' BertForPreTraining, with fused AdamW. Both sides follow the paper's
recipe. In float32 without dropout, the losses of all steps are compared too."""


@dataclass(frozen=True)
class PretrainBenchmarkOptions:
    """What is compared, and with which settings."""

    model: Annotated[str, tyro.conf.arg(metavar="SIZE|FILE.json")] = "mini"
    """tiny, mini, small, medium, base or large, or the path of a config .json"""
    corpus: Annotated[str, tyro.conf.arg(metavar="PATH")] = "pydocs"
    """the text, as `python -m pretrain --corpus` takes it"""
    tokenizer: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    """a directory with a tokenizer to use; if not given: a vocabulary is trained on the corpus"""
    vocab_size: int = 8192
    """number of tokens in the vocabulary that is trained on the corpus"""
    peer: Literal["transformers", "transformers-autocast", "transformers-bfloat16"] = "transformers-autocast"
    """how transformers computes: in float32, under autocast to bfloat16, or cast to bfloat16"""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """number format of minibert's matrix products"""
    batch_size: int = 32
    """sequences per step"""
    seq_len: int = 128
    """number of tokens in a sequence, including special tokens"""
    steps: int = 40
    """optimizer steps of each run, including those of --warm-up"""
    warm_up: int = 10
    """steps at the start of each run that are not timed"""
    repeats: int = 3
    """number of runs of each side, each with its own seed"""
    learning_rate: float = 1e-4
    """peak learning rate"""
    dropout: float = 0.1
    """dropout of both sides"""
    compile: Literal["no", "yes"] = "no"
    """yes: compile minibert with torch.compile, on a GPU"""
    threads: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """threads of each side; if not given: one per core"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """where both sides compute; auto: a GPU if there is one, or else the CPU"""
    json: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """the JSON file that keeps the results of all runs; runs that it already holds are not repeated"""

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

  python -m benchmarks quality --model mini --json runs/quality.json

The loop follows the paper's recipe and runs for --peer-minutes with each learning rate; its lowest loss is the one to
reach. Both sides train on the same token arrays and are scored on the same masks, and only their steps are timed."""


@dataclass(frozen=True)
class QualityOptions:
    """What is compared, and with which settings."""

    model: Annotated[str, tyro.conf.arg(metavar="SIZE|FILE.json")] = "mini"
    """tiny, mini, small, medium, base or large, or the path of a config .json"""
    corpus: Annotated[str, tyro.conf.arg(metavar="PATH")] = "pydocs"
    """the text, as `python -m pretrain --corpus` takes it"""
    tokenizer: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    """a directory with a tokenizer to use; if not given: a vocabulary is trained on the corpus"""
    vocab_size: int = 8192
    """number of tokens in the vocabulary that is trained on the corpus"""
    minutes: float = 3.0
    """minutes that minibert trains"""
    peer: Literal["transformers", "transformers-autocast", "transformers-bfloat16"] = "transformers-autocast"
    """how transformers computes: in float32, under autocast to bfloat16, or cast to bfloat16"""
    peer_minutes: float = 20.0
    """minutes that the loop trains, with each learning rate"""
    learning_rates: Annotated[tuple[float, ...], tyro.conf.arg(metavar="FLOAT [FLOAT ...]")] = (3e-4, 1e-3, 3e-3)
    """peak learning rates of the loop"""
    batch_size: int = 32
    """sequences per step of the loop; minibert takes its recipe's"""
    seq_len: int = 128
    """number of tokens in a sequence, including special tokens"""
    repeats: int = 1
    """number of runs of minibert, each with its own seed"""
    threads: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """threads of each side; if not given: one per core"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """where both sides compute; auto: a GPU if there is one, or else the CPU"""
    json: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """the JSON file that keeps the results of all runs; runs that it already holds are not repeated"""

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

    corpus: Annotated[str, tyro.conf.arg(metavar="FILE")]
    """a text file, as `python -m pretrain prepare` takes it"""
    tokenizer: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    """a directory with a tokenizer to use; if not given: a vocabulary is trained on the corpus, which is timed too"""
    vocab_size: int = 8192
    """number of tokens in the vocabulary that is trained on the corpus"""
    processes: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """number of processes that make the arrays; if not given: one per core"""
    batch_size: int = 32
    """sequences in a batch"""
    seq_len: int = 128
    """number of tokens in a sequence, including special tokens"""
    batches: int = 200
    """number of batches to make from the arrays, on one thread"""
    repeats: int = 3
    """number of times that all of this is done"""
    json: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """the JSON file that keeps the results of all runs; runs that it already holds are not repeated"""

    def check(self) -> None:
        """Raises InputError if an option is out of range."""
        for name in ("vocab_size", "processes", "batch_size", "batches", "repeats"):
            cli.check_range(self, name, low=1)
        cli.check_range(self, "seq_len", low=8)


SUITE = """Run the comparisons behind most tables of docs/performance.md, and write these tables. This takes over two
hours.

  python -m benchmarks all --model HF_DIR --data ../shared/data

After an interruption, the same command continues: what already has results is not measured again."""

Section = Literal["pretrain", "quality", "finetune", "encode", "prepare"]


@dataclass(frozen=True)
class SuiteOptions:
    """What is run, and where its results are written."""

    model: Annotated[str, tyro.conf.arg(metavar="HF_DIR")]
    """a Hugging Face directory of an encoder with BERT's vocabulary, such as all-MiniLM-L6-v2"""
    data: Annotated[str, tyro.conf.arg(metavar="DIR")]
    """a directory with stsb/sts-test.csv, cola/train.tsv, cola/dev.tsv and wikitext-2/train.txt.gz"""
    only: Annotated[
        tuple[Section, ...],
        tyro.conf.arg(metavar="NAME [NAME ...]", help_behavior_hint="(default: all)"),
    ] = ()
    """the benchmarks to run: pretrain, quality, finetune, encode and prepare; with --device cuda only the first
    three"""
    out: Annotated[str, tyro.conf.arg(metavar="DIR")] = "runs/bench"
    """the directory for the results, with a subdirectory for each device"""
    docs: Annotated[str, tyro.conf.arg(metavar="FILE")] = "docs/performance.md"
    """the file that the tables are written to"""
    device: Literal["cpu", "cuda"] = "cpu"
    """where pretrain, quality and finetune compute; the others measure the CPU"""
    tables_only: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """only write the tables, from the results so far"""

    def sections(self) -> tuple[Section, ...]:
        """Return the benchmarks to run."""
        return self.only or (ON_GPU if self.device == "cuda" else get_args(Section))

    def check(self) -> None:
        """Raises InputError if one of the benchmarks does not run on the device."""
        if self.device == "cuda" and (others := [name for name in self.only if name not in ON_GPU]):
            raise InputError(f"--only {others[0]}: this benchmark measures the processor; leave out --device cuda")


ON_GPU: tuple[Section, ...] = ("pretrain", "quality", "finetune")
