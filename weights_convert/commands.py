"""The commands of `python -m weights_convert`, each from its options to what it prints."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from minibert.console import cli, terminal
from minibert.errors import CheckFailed, InputError
from minibert.files.writing import check_writable, write_whole_text
from minibert.heads import BertForMultipleChoice, BertForQuestionAnswering
from weights_convert.card import CardHead, arguments, auto_class
from weights_convert.convert import from_hf, to_hf
from weights_convert.families import family_of
from weights_convert.parity import verify
from weights_convert.sentence_files import MODULES

FROM_HF = """Convert a Hugging Face directory (BERT, RoBERTa, DistilBERT, ALBERT or Longformer), with or without a head,
to a model directory.

  python -m weights_convert from-hf bert-base-uncased/ models/base
  python -m minibert fill-mask models/base "The capital of France is [MASK]."

config.json says what the model and its head are. The weights come from model.safetensors or pytorch_model.bin, whole or
in shards (no code in them is run), and the tokenizer from tokenizer.json, vocab.txt, vocab.json with merges.txt, or
spiece.model, with the options and added tokens beside it. A sentence-transformers model also says how it turns texts
into vectors, and `python -m minibert embed` then does the same by default. The report says what became of every weight
(mapped, tied, newly initialised, or dropped and why) and which files are not used."""

TO_HF = """Convert a model directory, with its tokenizer, to a directory that transformers loads with from_pretrained.

  python -m weights_convert to-hf runs/demo exported
  python -c 'import transformers; print(transformers.pipeline("fill-mask", "exported")("Return a [MASK]."))'
  python -m weights_convert to-hf runs/demo/kept/step-00003200 exported-1M --language en --license mit

It also writes README.md, a model card for the hub. The card says how the model was trained, as far as the directory and
the files of its run record it, what its figures are, and how to load it."""

VERIFY = """Run the same batches through transformers and through minibert, and compare every value along the way.

  python -m weights_convert verify bert-base-uncased/                        # converts it in memory
  python -m weights_convert verify bert-base-uncased/ models/base --dtype float64 --steps 100

It compares the embeddings, what every block computes (query, key, value, attention, feed-forward and output), the
logits of the heads, the loss, and the gradient of every parameter, on batches padded on the right, on the left, and not
at all. If something differs, it marks the first value that does, and names a likely cause. The exit code is 0 if all
values agree within the tolerances of docs/verification.md, or else 1. In float64, this shows that the mathematics is
the same; float32 is what people run."""


@dataclass(frozen=True)
class FromHfOptions:
    """What is read, what is written."""

    directory: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")]
    """a Hugging Face directory, or the name of a model on the Hugging Face hub, which is then downloaded (needs the
    optional dependency `hub`: pip install -e '.[hub]' in minibert's checkout)"""
    out: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="OUT")]
    """the model directory to write; it must not exist"""
    new_head: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """initialise a head that config.json names but the weights lack, at random from a fixed seed"""


def from_hf_command(args: Sequence[str]) -> None:
    """Run `from-hf`. Raises InputError as `weights_convert.convert.from_hf` does."""
    options = cli.parse(FromHfOptions, args, prog="python -m weights_convert from-hf", description=FROM_HF)
    new_head = torch.Generator().manual_seed(0) if options.new_head else None
    conversion = from_hf(options.directory, options.out, new_head=new_head)
    if conversion.prefix:
        terminal.say(f"the prefix {conversion.prefix} is removed from every key")
    terminal.say(*conversion.ledger.lines())
    if conversion.left_aside:
        terminal.say(f"config.json: fields ignored (they do not affect results): {', '.join(conversion.left_aside)}")
    terminal.say(*(f"config.json: {note}" for note in conversion.notes))
    rows, tokens = conversion.model.config.vocab_size, conversion.tokenizer.vocab_size
    if rows > tokens:
        terminal.say(
            f"vocab_size: {rows:,} rows for {tokens:,} tokens; the rows after the last token are kept but not used"
        )
    if conversion.model.encoder.text_vectors is not None:
        terminal.say(f"vectors of texts: {conversion.model.encoder.text_vectors}")
    if conversion.not_used:
        terminal.say(f"not used: {', '.join(conversion.not_used)}")
    terminal.say(f"\nwrote a {type(conversion.model).__name__} to {options.out}")


@dataclass(frozen=True)
class ToHfOptions:
    """What is read, what is written."""

    directory: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")]
    """a model directory"""
    out: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="OUT")]
    """the Hugging Face directory to write; it must not exist"""
    language: Annotated[
        tuple[str, ...],
        tyro.conf.UseAppendAction,
        tyro.conf.arg(metavar="CODE[,CODE...]", help_behavior_hint="(default: None)"),
    ] = ()
    """for the model card: the language of the text, such as en; for several, separate them by commas or repeat the
    option"""
    license: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """for the model card: the licence of the model, by its name on the hub, such as apache-2.0"""
    name: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """for the model card: the name of the model; if not given: that of OUT"""


def to_hf_command(args: Sequence[str]) -> None:
    """Run `to-hf`. Raises InputError as `weights_convert.convert.to_hf` does."""
    options = cli.parse(ToHfOptions, args, prog="python -m weights_convert to-hf", description=TO_HF)
    languages = tuple(code for given in options.language for code in given.split(","))
    head = CardHead(languages, options.license, options.name)
    model = to_hf(options.directory, options.out, head=head)
    family = family_of(model.config)
    reference_class = family.reference_class(type(model).__name__)
    terminal.say(
        f"wrote {reference_class} to {options.out}; to load it:\n\n"
        f"  transformers.{auto_class(model)}.from_pretrained({arguments(model, options.out)})\n"
        f"  transformers.AutoTokenizer.from_pretrained({options.out!r})"
    )
    config, as_hidden = model.config, type(model).__name__ in family.drops_as_hidden
    if config.attention_window is not None and isinstance(model, BertForQuestionAnswering | BertForMultipleChoice):
        terminal.say(
            "\nto find the global tokens of this class, transformers looks for three separators, as in RoBERTa's "
            "inputs; BERT's tokenizer adds only two, so you have to pass a global_attention_mask"
        )
    if as_hidden and config.dropout_before_classifier != config.hidden_dropout_prob:
        terminal.say(
            f"\nclassifier_dropout is {config.classifier_dropout}, but {reference_class} has no such field and trains "
            f"with its hidden_dropout_prob, {config.hidden_dropout_prob}; its answers are the same"
        )
    if (vectors := model.encoder.text_vectors) is not None and vectors.not_done is None:
        terminal.say(f"  sentence_transformers.SentenceTransformer({options.out!r})")
    elif vectors is not None:
        terminal.say(f"\n{MODULES} is not written: minibert does not support {vectors.not_done}")


@dataclass(frozen=True)
class VerifyOptions:
    """What is compared, and how."""

    hf_directory: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="HF_DIR")]
    """a Hugging Face directory, or the name of a model on the Hugging Face hub, which is then downloaded (needs the
    optional dependency `hub`: pip install -e '.[hub]' in minibert's checkout)"""
    model_directory: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="[MODEL_DIR]")] = None
    """a model directory to compare with HF_DIR; if not given: HF_DIR itself, converted in memory"""
    dtype: Literal["float32", "float64", "bfloat16"] = "float32"
    """number format of both models"""
    steps: cli.CountFromZero = 0
    """also train both models for this many AdamW steps on the same batches, and compare their losses; 0: don't train"""
    json: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """also write the whole report to this file, as JSON"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """where to compute; auto: a GPU if there is one, or else the CPU"""
    seed: int = 0
    """seed of the batches' tokens, segments and targets"""

    def __post_init__(self) -> None:
        cli.check_ranges(self)
        if not 0 <= self.seed < 2**32:
            raise InputError(f"--seed must be from 0 to {2**32 - 1}, not {self.seed}")
        if self.json is not None:
            check_writable(Path(self.json), reads=(self.hf_directory, self.model_directory))


def verify_command(args: Sequence[str]) -> None:
    """Run `verify`. Raises InputError as `weights_convert.parity.verify` does; CheckFailed if the two differ."""
    options = cli.parse(VerifyOptions, args, prog="python -m weights_convert verify", description=VERIFY)
    report = verify(
        options.hf_directory,
        options.model_directory,
        dtype=options.dtype,
        steps=options.steps,
        seed=options.seed,
        device=options.device,
    )
    terminal.say(*report.lines())
    if options.json is not None:
        write_whole_text(Path(options.json), json.dumps(report.to_json(), indent=2) + "\n")
    if not report.agrees:
        raise CheckFailed(f"{report.model} does not give the same numbers as {report.reference}: see the table")
