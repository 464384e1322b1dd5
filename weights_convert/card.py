"""The model card that `to-hf` writes: README.md, which the hub shows, with a YAML head, by which the hub lists models.

It says what the model's directory says: its config and, of a run, `run.toml`, `summary.json` and the manifest of the
token arrays. A card is meant to be published, so of every path it names only the last part.
"""

import json
import os
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

import torch

from minibert import __version__
from minibert.errors import InputError, naming, plural
from minibert.files.text import read_small, reason
from minibert.files.typed import typed
from minibert.heads import BertForPreTraining, Model
from minibert.model import Bert
from minibert.tokenizer import Tokenizer
from minibert.tokenizer.source import read_object
from minibert.training.run_directory import as_toml
from weights_convert.families import family_of
from weights_convert.sentence_files import to_files

CARD = "README.md"
LANGUAGE = r"[a-z]{2,3}(-[A-Za-z0-9]+)*|multilingual|code"  # ISO 639, as the hub lists it
LICENSE = r"[a-z0-9][a-z0-9.+-]*"
MOST_FILES = 10  # of the text that are named
COUNTS = ("words", "tokens", "documents")  # of a side of the text, in the manifest

# Settings of a run that hold paths. And those of text and vocabulary, which a card leaves out if the run was GIVEN what
# they would have made.
PATHS = {"model", "init", "tokenizer", "train", "dev", "test", "class_weights"}
GIVEN = {"data", "init", "tokenizer"}
OF_TEXT = {"vocab_size", "tokenizer_kind", "lowercase", "text_field", "sentence_per_line", "document_per_line",
           "drop_duplicates"}  # fmt: skip

# minibert's class -> the hub's name for what such a model does; the hub has none for next-sentence prediction.
TASKS = {
    **dict.fromkeys(("Bert", "BertWithPooler"), "feature-extraction"),
    **dict.fromkeys(("BertForPreTraining", "BertForMaskedLM"), "fill-mask"),
    "BertForSequenceClassification": "text-classification",
    "BertForTokenClassification": "token-classification",
    "BertForQuestionAnswering": "question-answering",
    "BertForMultipleChoice": "multiple-choice",
}

# Fields of `summary.json` -> what they are. Of the training:
AMOUNTS = {
    "step": "optimizer steps when this model was kept",
    "steps": "optimizer steps",
    "words": "words of text seen in all passes, separated by white space; a Chinese character counts as one",
    "tokens": "tokens seen, without padding",
    "passes": "passes over the text",
    "train_examples": "examples to train on",
    "epochs": "passes over the examples",
    "best_epoch": "the pass whose model was kept, by the figures on the development set",
    "learning_rate": "peak learning rate",
    "seconds": "seconds of training",
}
# And on documents that training never saw.
HELD_OUT = {
    "mlm_loss": "masked-LM loss, in nats per masked token",
    "unigram_loss": "masked-LM loss of always predicting the token frequencies of the training text: the baseline "
    "to beat",
    "mlm_loss_per_byte": "masked-LM loss, in nats per UTF-8 byte: comparable across vocabularies",
    "mlm_accuracy": "share of the masked tokens predicted correctly",
    "nsp_loss": "next-sentence loss, in nats per pair",
    "nsp_accuracy": "share of the pairs predicted correctly (next sentence or not); 0.5 is chance",
    "sop_loss": "sentence-order loss, in nats per pair",
    "sop_accuracy": "share of the pairs whose order is predicted correctly; 0.5 is chance",
}


@dataclass(frozen=True)
class CardHead:
    """What only the author knows of a model."""

    languages: tuple[str, ...] = ()
    license: str | None = None
    name: str | None = None  # None: the name of the directory that is written

    def check(self) -> None:
        """Raises InputError if something is not as the hub spells it; the message names the option."""
        for language in self.languages:
            if not re.fullmatch(LANGUAGE, language):
                raise InputError(f"--language {language!r}: expected codes such as en, or en,de for two")
        if self.license is not None and not re.fullmatch(LICENSE, self.license):
            expected = "expected the licence's name on the hub, such as apache-2.0 or mit"
            raise InputError(f"--license {self.license!r}: {expected}")
        if self.name is not None and not (self.name.strip() and self.name.isprintable()):
            raise InputError(f"--name {self.name!r}: expected one line of printable characters")


@dataclass(frozen=True)
class Run:
    """What a model's directory says about the run that made it; empty if none did."""

    settings: dict[str, Any]  # of run.toml
    summary: dict[str, Any]
    corpus: list[str]  # of pretraining: the paths of the text, as far as they are known
    counts: dict[str, int | float]  # of the training part, likewise


def read_run(directory: Path, tokenizer: Tokenizer) -> Run:
    """Return what is known of the run; a model in `RUN/kept/` has a summary of its own, and the run's settings.

    Raises InputError if a file of the run is damaged.
    """
    directory = Path(os.path.abspath(directory))
    run = directory.parents[1] if directory.parent.name == "kept" else directory
    summary_path, configuration = directory / "summary.json", run / "run.toml"
    settings: dict[str, Any] = {}
    if configuration.is_file():
        try:
            settings = tomllib.loads(read_small(configuration))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{configuration}: not readable as TOML ({reason(error)})") from error
    summary = read_object(summary_path) if summary_path.is_file() else {}
    with naming(configuration):
        data = typed(settings.get("data"), str | None, "data")
        corpus = typed(settings.get("corpus", []), list[str], "corpus")
    manifest_path = Path(data or run / "data") / "manifest.json"
    manifest = read_object(manifest_path) if settings and manifest_path.is_file() else {}
    with naming(manifest_path):
        counts = _numbers(typed(manifest.get("train", {}), dict[str, Any], "train"), COUNTS)
        options = typed(manifest.get("options", {}), dict[str, Any], "options")
        prepared = typed(options.get("corpus", []), list[str], "options.corpus")
    with naming(summary_path):
        seen = _numbers(summary, ("words", "passes"))
    # Other arrays may have been made there since then, and a relative path may lead elsewhere today.
    words_differ = abs(seen.get("words", 0) - seen.get("passes", 0) * counts.get("words", 0)) > 1
    if words_differ or manifest.get("tokenizer_fingerprint") != tokenizer.fingerprint:
        return Run(settings, summary, corpus, {})
    return Run(settings, summary, corpus or prepared, counts)


# --- The card --------------------------------------------------------------------------------------------------------


def model_card(model: Model, tokenizer: Tokenizer, directory: str | Path, out: str | Path, head: CardHead) -> str:
    """Return the card of the model in `directory`, which is written to `out`.

    Raises InputError as `read_run` does, or if one of its files has a value of another type.
    """
    place = "".join(letter if letter.isprintable() else " " for letter in Path(os.path.abspath(out)).name)
    run = read_run(Path(directory), tokenizer)
    with naming(Path(directory) / "summary.json"):
        training, figures = _training(run), _figures(run.summary)
    parts = [
        _head(model, head, place),
        f"# {head.name or place}",
        _what_it_is(model, tokenizer),
        "## How to load it",
        _loading(model, place),
        *(["## Text", *text] if (text := _text(run)) else []),
        *(["## Training", *training] if training else []),
        *(["## Figures", *figures] if figures else []),
        f"Written by minibert {__version__} (`python -m weights_convert to-hf`) with torch {torch.__version__}.",
    ]
    return "\n\n".join(parts) + "\n"


def _head(model: Model, head: CardHead, place: str) -> str:
    """Return the YAML between its two lines of dashes. Every value is a quoted string: `no` is a language."""
    tags = [family_of(model.config).model_type, "minibert", *(["sentence-transformers"] if to_files(model) else [])]
    fields: dict[str, Any] = {
        "language": list(dict.fromkeys(head.languages)),
        "license": head.license,
        "library_name": "transformers",
        "pipeline_tag": TASKS.get(type(model).__name__),
        "model_name": head.name or place,
        "tags": tags,
    }
    # A list or a string in JSON is the same in YAML, as long as its characters are printable.
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items() if value]
    return "\n".join(["---", *lines, "---"])


def _what_it_is(model: Model, tokenizer: Tokenizer) -> str:
    config, family = model.config, family_of(model.config)
    kinds = {"wordpiece": "WordPiece", "bpe": "byte-level BPE", "unigram": "Unigram"}
    case = "lower-cased" if tokenizer.normalization.lowercase else "cased"
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return (
        f"`{family.reference_class(type(model).__name__)}` with {parameters:,} parameters: "
        f"{plural(config.num_hidden_layers, 'layer')}, hidden size {config.hidden_size}, "
        f"{plural(config.num_attention_heads, 'head')}, feed-forward size {config.intermediate_size}, inputs of at "
        f"most {config.longest:,} tokens, and a vocabulary of {tokenizer.vocab_size:,} ({kinds[tokenizer.kind]}, "
        f"{case})."
    )


def auto_class(model: Model) -> str:
    """Return the name of transformers' class that loads the export with all its weights."""
    family = family_of(model.config)
    task = family.reference_class(type(model).__name__).removeprefix(family.class_prefix).removesuffix("Model")
    return f"AutoModel{task}"


def arguments(model: Model, place: str) -> str:
    """Return the arguments of `from_pretrained`."""
    # The config has no field for it, and a pooler would be drawn at random.
    without_pooler = isinstance(model, Bert) and "BertWithPooler" in family_of(model.config).classes
    return repr(place) + (", add_pooling_layer=False" if without_pooler else "")


def _loading(model: Model, place: str) -> str:
    name = "AutoModelForMaskedLM" if TASKS.get(type(model).__name__) == "fill-mask" else auto_class(model)
    lines = [
        "```python",
        f"from transformers import {name}, AutoTokenizer\n",
        f"tokenizer = AutoTokenizer.from_pretrained({place!r})",
        f"model = {name}.from_pretrained({arguments(model, place)})",
        "```\n",
        f"`{place}` is the directory. Once the model is on the hub, write `USER/{place}` instead.",
    ]
    if isinstance(model, BertForPreTraining):
        lines.append(
            "The head for sentence pairs is not part of this class, which reports that head's weights as unexpected; "
            f"`{auto_class(model)}` loads them too."
        )
    return "\n".join(lines)


def _text(run: Run) -> list[str]:
    """Return what a pretraining run was trained on."""
    documentation = "the documentation that comes with Python and installed packages"
    names = [documentation if path == "pydocs" else f"`{_last_part(path)}`" for path in run.corpus]
    if not names and (data := run.settings.get("data")):
        names = [f"token arrays named `{_last_part(data)}`"]
    if not names:
        return []
    more = [f"{len(names) - MOST_FILES:,} more"] if len(names) > MOST_FILES else []
    counts = [f"{number:,} {unit if number != 1 else unit.removesuffix('s')}" for unit, number in run.counts.items()]
    part = f"; the training part has {_and(counts)}" if counts else ""
    return [f"Pretrained on {_and([*names[:MOST_FILES], *more])}{part}."]


def _and(parts: list[str]) -> str:
    """Return one part or more as a list in prose: "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def _training(run: Run) -> list[str]:
    """Return what the run did. Raises InputError if a figure of its summary is not a number."""
    without = {"corpus", "data"} | (OF_TEXT if GIVEN & run.settings.keys() else set())
    settings = {name: _last_part(str(value)) if name in PATHS else value
                for name, value in run.settings.items() if name not in without}  # fmt: skip
    told = []
    if "task" in settings:
        told.append(f"Fine-tuned from `{settings.get('model')}` for {settings['task']}.")
    elif "init" in settings:
        told.append(f"The run began with the weights of `{settings['init']}`.")
    if kept_for := typed(run.summary.get("kept_for"), list[str] | None, "kept_for"):
        told.append(f"This model was kept during its run, by `--keep-at {','.join(kept_for)}`.")
    if settings:
        told.append(f"```toml\n{as_toml(settings, 'The settings of the whole run. Learning rates are peaks.')}```")
    return told + _table(run.summary, AMOUNTS)


def _figures(summary: dict[str, Any]) -> list[str]:
    """Return the figures, with what they mean. Raises InputError if one is not a number."""
    told = []
    if held_out := _table(summary, HELD_OUT):
        told += ["On held-out documents, with 15 % of the tokens masked:", *held_out]
    for part, data in (("metrics", "development set, by which the epoch was chosen"), ("test_metrics", "test set")):
        metrics = typed(summary.get(part), dict[str, Any] | None, part) or {}
        told += [f"On the {data}:", *_table(metrics, dict.fromkeys(metrics, ""))] if metrics else []
    return told


def _table(values: dict[str, Any], meanings: dict[str, str]) -> list[str]:
    """Return a table of the values that there are; none if there are none."""
    numbers = _numbers(values, meanings)
    shown = {name: f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" for name, value in numbers.items()}
    rows = [("figure", "value", "what it is"), ("---", "---", "---")]
    rows += [(name, value, meanings[name]) for name, value in shown.items()]
    columns = 3 if any(meanings.values()) else 2
    return ["\n".join(f"| {' | '.join(row[:columns])} |" for row in rows)] if numbers else []


def _numbers(values: dict[str, Any], names: Iterable[str]) -> dict[str, int | float]:
    """Return those of the values that there are. Raises InputError if one is not a number."""
    return typed({name: values[name] for name in names if values.get(name) is not None}, dict[str, int | float])


def _last_part(path: str) -> str:
    """Return the last part of a path of this system or another."""
    return PureWindowsPath(path).name or path
