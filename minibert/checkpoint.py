"""Model directories: `config.json`, `model.safetensors`, `tokenizer.json` and, with WordPiece, `vocab.txt`.

A directory is written whole or not at all, and refused if damaged. `config.json` is written last and holds the
checksums of weights and tokenizer, so a half-written directory, or one with a changed file, is never accepted.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from minibert.architectures import ARCHITECTURES, HEAD_FIELDS, OPTIONAL_HEAD_FIELDS, head_fields, new_model
from minibert.config import BertConfig, TextVectors
from minibert.errors import InputError, naming
from minibert.files.text import check_path, read_small, reason
from minibert.files.typed import typed
from minibert.files.writing import sha256, written_whole
from minibert.heads import Model
from minibert.tokenizer import Tokenizer

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer.json"
CHECKSUMS = {WEIGHTS: "weights_sha256", TOKENIZER: "tokenizer_sha256"}  # file -> the field of config.json
MOST_NAMES = 40  # most parameter names in one message: enough for two blocks


def save(model: Model, tokenizer: Tokenizer, directory: str | Path) -> None:
    """Write a model directory. If it already exists, its model files are replaced, each whole.

    A model wrapped by torch.compile or data parallelism is unwrapped first.

    Raises InputError as `check_tokenizer` does, and OSError, leaving nothing half-written, if writing fails.
    """
    while (wrapped := getattr(model, "_orig_mod", getattr(model, "module", None))) is not None:
        model = wrapped
    check_tokenizer(model.config, tokenizer)
    with written_whole(directory, last=CONFIG) as aside:
        tokenizer.save(aside)
        (aside / WEIGHTS).write_bytes(safetensors_bytes(weights_of(model)))
        description = json.dumps(_description(model, aside), indent=2) + "\n"
        (aside / CONFIG).write_text(description, encoding="utf-8", newline="\n")


def load(directory: str | Path) -> tuple[Model, Tokenizer]:
    """Return the model, of the class that `config.json` names and in evaluation mode, and its tokenizer.

    Raises InputError, naming the file, field or key, if this is not a model directory or it is damaged.
    """
    check_path(directory)
    directory = Path(directory)
    description = read_description(directory)
    tokenizer = Tokenizer.load(directory)
    with naming(directory / CONFIG):
        check_tokenizer(description.config, tokenizer)
    weights = directory / WEIGHTS
    for path, checksum in {weights: None, **description.checksums}.items():
        if not path.is_file():
            raise InputError(f"{path} is missing; a model directory holds {CONFIG}, {WEIGHTS} and {TOKENIZER}")
        if checksum is not None and sha256(path) != checksum:
            raise InputError(f"{path} is damaged: its SHA-256 differs from the one in {CONFIG}")
    try:
        tensors = load_file(weights)
    except SafetensorError as error:
        raise InputError(f"{weights} is damaged ({error})") from error
    with naming(directory / CONFIG):
        model = without_memory(description.architecture, description.config, description.head)
    assign_weights(model, tensors, source=str(weights))
    model.encoder.text_vectors = description.text_vectors
    return model.eval(), tokenizer


def without_memory(architecture: str, config: BertConfig, head: Mapping[str, Any]) -> Model:
    """Return a model whose parameters have shapes but no memory, ready for `assign_weights`.

    Raises InputError if the class refuses the fields or a size is too large for PyTorch.
    """
    try:
        with torch.device("meta"), Undrawn():
            return new_model(architecture, config, head)
    except (RuntimeError, TypeError) as error:  # more elements than 64 bits can count
        sizes = {name: value for name, value in config.to_dict().items() if type(value) is int}
        largest = max(sizes, key=lambda name: sizes[name])
        raise InputError(f"{largest} {sizes[largest]} is too large") from error


class Undrawn(TorchFunctionMode):
    """Skips drawing numbers for weights without memory: PyTorch would load its compiler for them, which takes longer
    than the rest of a short command, and fails if TORCHINDUCTOR_CACHE_DIR is not a directory."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return kwargs["tensor"] if function is nn.init.normal_ else function(*args, **(kwargs or {}))


def check_tokenizer(config: BertConfig, tokenizer: Tokenizer) -> None:
    """Check that every token has a row in the embedding. Published models often have a few more, for a round number.

    If padding has no position (RoBERTa), both must also agree on its id: the token with that id gets no position. A
    Longformer may have a BERT's vocabulary, with another padding (Lawformer): then positions count padding, in the
    reference as well, and the token with the config's id still gets none.

    If a Longformer's config has a separator, which shows where a question ends, it is the tokenizer's.

    Raises InputError if a token has no row, the tokenizer pads with another id than such a model skips, or a
    Longformer has another separator.
    """
    if tokenizer.vocab_size > config.vocab_size:
        raise InputError(
            f"vocab_size is {config.vocab_size}, but the tokenizer has {tokenizer.vocab_size} tokens: the last "
            "ones would have no embedding"
        )
    counts_padding = config.attention_window is not None and tokenizer.kind == "wordpiece"
    if config.positions_skip_padding and config.pad_token_id != tokenizer.pad_id and not counts_padding:
        raise InputError(
            f"pad_token_id, after which positions begin, is {config.pad_token_id}, but the tokenizer's "
            f"{tokenizer.special_tokens.pad} is {tokenizer.pad_id}"
        )
    if config.sep_token_id not in (None, tokenizer.sep_id):
        raise InputError(
            f"sep_token_id, which shows where a question ends, is {config.sep_token_id}, but the tokenizer's "
            f"{tokenizer.special_tokens.sep} is {tokenizer.sep_id}"
        )


class Description(NamedTuple):
    """The contents of `config.json`."""

    config: BertConfig
    architecture: str
    head: dict[str, Any]  # see `minibert.architectures.HEAD_FIELDS` and `OPTIONAL_HEAD_FIELDS`
    checksums: dict[Path, str]  # file -> its SHA-256, for those files of `CHECKSUMS` that have one
    text_vectors: TextVectors | None = None


def read_description(directory: Path) -> Description:
    """Read `config.json`.

    Raises InputError if it is missing or unreadable, or its architecture or a field is unknown, wrong or missing.
    """
    path = directory / CONFIG
    try:
        fields = json.loads(read_small(path))
        json.dumps(fields, ensure_ascii=False).encode()  # fails where JSON spells half a surrogate pair
    except (FileNotFoundError, NotADirectoryError):
        begun = (directory / "state").is_dir()
        unfinished = "holds an unfinished run; continue with --resume"
        found = unfinished if begun else f"is not a model directory: it has no {CONFIG}"
        raise InputError(f"{directory} {found}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable as JSON ({reason(error)})") from error
    if isinstance(fields, dict) and "model_type" in fields and "architecture" not in fields:
        raise InputError(
            f"{path}: this is a Hugging Face config; convert it with python -m weights_convert from-hf {directory} OUT"
        )
    if not isinstance(fields, dict) or fields.get("architecture") not in list(ARCHITECTURES):
        raise InputError(f"{path}: architecture must be one of {', '.join(ARCHITECTURES)}")
    architecture = fields.pop("architecture")
    given = {directory / name: fields.pop(field, None) for name, field in CHECKSUMS.items()}
    checksums = {file: checksum for file, checksum in given.items() if checksum is not None}
    missing = [name for name in HEAD_FIELDS.get(architecture, ()) if name not in fields]
    if missing:
        raise InputError(f"{path}: missing {', '.join(missing)}, which a {architecture} needs")
    head = {name: fields.pop(name) for name in HEAD_FIELDS.get(architecture, ())}
    with naming(path):
        for name, usual in OPTIONAL_HEAD_FIELDS.get(architecture, {}).items():
            head[name] = typed(fields.pop(name, usual), type(usual), name)
        vectors = TextVectors.from_dict(fields.pop("text_vectors")) if "text_vectors" in fields else None
        return Description(BertConfig.from_dict(fields), architecture, head, checksums, vectors)


def weights_of(model: Model) -> dict[str, Tensor]:
    """Return every parameter once, by name: a tied one under its first name."""
    return {name: parameter.detach().contiguous() for name, parameter in model.named_parameters()}


def assign_weights(model: Model, tensors: Mapping[str, Tensor], *, source: str) -> None:
    """Make `tensors` the parameters of the model; the names must match exactly. Tied parameters stay tied.

    Raises InputError if names are missing or unknown (up to `MOST_NAMES` are listed), or a shape or type is wrong.
    """
    expected = dict(model.named_parameters())
    missing, surplus = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    if missing or surplus:
        wrong = [f"{kind} {listed(names)}" for kind, names in (("missing", missing), ("unknown", surplus)) if names]
        raise InputError(f"{source}: {'; '.join(wrong)}")
    for name, parameter in expected.items():
        if parameter.shape != tensors[name].shape:
            raise InputError(f"{source}: {name} is {tuple(tensors[name].shape)}, expected {tuple(parameter.shape)}")
        if not tensors[name].is_floating_point():
            raise InputError(f"{source}: {name} is {tensors[name].dtype}, expected floating-point numbers")
    filled = {parameter: torch.nn.Parameter(tensors[name]) for name, parameter in expected.items()}
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            setattr(module, name, filled[parameter])  # by identity: both uses of a tied parameter get the same one


def listed(names: Sequence[str]) -> str:
    """Return the first `MOST_NAMES` names and the number of the others, for a message."""
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more:,} more" if more > 0 else "")


def _description(model: Model, directory: Path) -> dict[str, Any]:
    vectors = model.encoder.text_vectors
    return {
        "architecture": type(model).__name__,
        **model.config.to_dict(),
        **head_fields(model),
        **({} if vectors is None else {"text_vectors": asdict(vectors)}),
        **{field: sha256(directory / name) for name, field in CHECKSUMS.items()},
    }
