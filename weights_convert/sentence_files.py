"""What sentence-transformers keeps beside the weights: how a text's vector is made from its tokens' hidden states.

`modules.json` lists the steps, each with its own directory: the encoder, a pooling, perhaps a normalisation. The steps
that minibert supports become the model's `TextVectors`, which also names whatever else changes the vectors, so that
`embed` can refuse to make others.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

from minibert.config import POOLINGS, BertConfig, TextVectors
from minibert.errors import InputError
from minibert.heads import Model
from minibert.tokenizer import Tokenizer
from minibert.tokenizer.directory import CONFIG as TOKENIZER_CONFIG
from minibert.tokenizer.source import read_json, read_object

MODULES = "modules.json"
SETTINGS = "config_sentence_transformers.json"
# The encoder's own file was once named after the kind of model; files are looked for in this order.
KINDS = ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
ENCODER_FILES = tuple(f"sentence_{kind}_config.json" for kind in KINDS)
ALL_FILES = (MODULES, SETTINGS, *ENCODER_FILES, "*/config.json")

ENCODER_KINDS = ("Transformer", "BERT", "RoBERTa", "DistilBERT", "ALBERT")  # once, a name for each family
POOLING, NORMALIZE = "Pooling", "Normalize"
# Old files have a flag for each pooling; several together give vectors side by side.
FLAGS = {
    "cls": "pooling_mode_cls_token",
    "mean": "pooling_mode_mean_tokens",
    "max": "pooling_mode_max_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
}
LATER_FLAGS = {"weightedmean": "pooling_mode_weightedmean_tokens", "lasttoken": "pooling_mode_lasttoken"}
# Fields of the encoder's file that can change tokens or hidden states -> the values with which they don't.
PLAIN: dict[str, tuple[object, ...]] = {
    "transformer_task": (None, "feature-extraction"),
    "module_output_name": (None, "token_embeddings"),
    **dict.fromkeys(("tokenizer_args", "processor_kwargs", "processing_kwargs", "config_args", "config_kwargs"),
                    (None, {})),
}  # fmt: skip


_NAME = r"[^/\\:\x00-\x1f]+"


class Module(NamedTuple):
    """One step of `modules.json`."""

    kind: str  # the name of its class, with its package unless that is sentence-transformers
    path: str  # its directory within that of modules.json; "" is that itself


def read_modules(directory: Path) -> list[Module]:
    """Return the steps in order; none if the directory is not from sentence-transformers.

    Raises InputError if `modules.json` is damaged or leads out of the directory.
    """
    path = directory / MODULES
    if not path.is_file():
        return []
    modules = []
    entries = read_json(path)
    for entry in entries if isinstance(entries, list) and entries else [entries]:
        match entry:
            case {"type": str(name), "path": str(place)} if _is_inside(place):
                own = name.startswith("sentence_transformers.")
                modules.append(Module(name.rpartition(".")[2] if own else name, place.rstrip("/")))
            case _:
                expected = "a list of modules, each with its type and its path in the same directory"
                raise InputError(f"{path}: expected {expected}, found {entry!r:.80}")
    return modules


def _is_inside(place: str) -> bool:
    """Return whether the path stays inside the directory on any system."""
    return re.fullmatch(rf"(?!.*\.\.)({_NAME}(/{_NAME})*/?)?", place) is not None


def encoder_directory(directory: Path) -> Path:
    """Return the directory of config, tokenizer and weights: the same, or for the first versions one within it.

    Raises InputError as `read_modules` does.
    """
    modules = read_modules(directory)
    return directory / modules[0].path if modules and modules[0].kind in ENCODER_KINDS else directory


def read_text_vectors(directory: Path, config: BertConfig, tokenizer: Tokenizer) -> TextVectors | None:
    """Return how the directory makes vectors; None if it is not from sentence-transformers.

    Raises InputError as `read_modules` does, or if a module's file is missing or damaged.
    """
    modules = read_modules(directory)
    if not modules:
        return None
    kinds = [module.kind for module in modules]
    not_done = []
    if kinds[0] not in ENCODER_KINDS or kinds[1:] not in ([POOLING], [POOLING, NORMALIZE]):
        not_done.append(f"the modules {', '.join(kinds)}")
    modes = [mode for module in modules if module.kind == POOLING for mode in _modes(directory / module.path)]
    is_known = len(modes) == 1 and modes[0] in POOLINGS
    if modes and not is_known:
        not_done.append(f"the pooling {' and '.join(modes)}")
    for module in modules:
        own = _object(directory / module.path / "config.json") if module.kind == NORMALIZE else {}
        if own.get("module_input_name") not in (None, "sentence_embedding"):
            not_done.append(f"a norm of {own['module_input_name']}")
    encoder = encoder_directory(directory)
    fields = _object(encoder_file(encoder))
    not_done += [name for name, plain in PLAIN.items() if fields.get(name) not in plain]
    if fields.get("do_lower_case") and not tokenizer.normalization.lowercase:
        not_done.append("do_lower_case where the tokenizer keeps case")
    settings = _object(directory / SETTINGS)
    prompts = settings.get("prompts")
    if isinstance(prompts, dict) and prompts.get(settings.get("default_prompt_name")):
        not_done.append("a prompt before every text")
    return TextVectors(
        pooling=modes[0] if is_known else POOLINGS[0],
        normalize=NORMALIZE in kinds,
        max_length=_max_length(encoder, fields, config),
        not_done="; ".join(not_done) or None,
    )


def encoder_file(encoder: Path) -> Path:
    """Return the encoder's own file; of several, the first in order."""
    there = [encoder / name for name in ENCODER_FILES if (encoder / name).is_file()]
    return there[0] if there else encoder / ENCODER_FILES[0]


def _modes(directory: Path) -> list[str]:
    """Return the poolings that a module's file asks for, in the order in which their vectors stand side by side."""
    path = directory / "config.json"
    if not path.is_file():
        raise InputError(f"{path}: missing; {MODULES} says that it gives the pooling")
    fields = read_object(path)
    modes = fields.get("pooling_mode")
    if modes is None:
        modes = [mode for mode, flag in (FLAGS | LATER_FLAGS).items() if fields.get(flag)] or ["mean"]
    modes = [modes] if isinstance(modes, str) else modes
    if not isinstance(modes, list) or not modes or not all(isinstance(mode, str) for mode in modes):
        raise InputError(f"{path}, pooling_mode: expected a name or a list of names, found {modes!r:.60}")
    return modes


def _max_length(encoder: Path, fields: dict[str, Any], config: BertConfig) -> int | None:
    """Return the maximum number of tokens in a text; None if it is not below the model's number of positions."""
    place, name = encoder_file(encoder), "max_seq_length"
    if (length := fields.get(name)) is None:  # new versions leave it to the tokenizer's config
        place, name = encoder / TOKENIZER_CONFIG, "model_max_length"
        length = _object(place).get(name)
    if length is None:
        return None
    if isinstance(length, bool) or not isinstance(length, int | float) or length < 1:
        raise InputError(f"{place}, {name}: expected a number of tokens, found {length!r}")
    return int(length) if length < config.longest else None


def _object(path: Path) -> dict[str, Any]:
    """Return the fields of a file; none if there is no such file."""
    return read_object(path) if path.is_file() else {}


def used_paths(directory: Path) -> list[Path]:
    """Return the files and directories that `read_text_vectors` uses.

    Raises InputError as `read_modules` does.
    """
    modules = read_modules(directory)
    followed = [directory / module.path for module in modules if module.kind in (POOLING, NORMALIZE)]
    return [directory / MODULES, encoder_file(encoder_directory(directory)), *followed] if modules else []


def to_files(model: Model) -> dict[str, object]:
    """Return file names -> contents, as every version of sentence-transformers reads them; {} if the model does not
    say how its vectors are made, or minibert does not support that."""
    vectors = model.encoder.text_vectors
    if vectors is None or vectors.not_done is not None:
        return {}
    kinds = [ENCODER_KINDS[0], POOLING, *([NORMALIZE] if vectors.normalize else [])]
    paths = ["", *(f"{number}_{kind}" for number, kind in enumerate(kinds[1:], 1))]
    files: dict[str, object] = {
        MODULES: [
            {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for number, (kind, path) in enumerate(zip(kinds, paths, strict=True))
        ],
        ENCODER_FILES[0]: {"max_seq_length": vectors.max_length, "do_lower_case": False},
        f"{paths[1]}/config.json": {
            "word_embedding_dimension": model.config.hidden_size,
            **{flag: mode == vectors.pooling for mode, flag in FLAGS.items()},
        },
    }
    return files | {f"{path}/config.json": {} for path in paths[2:]}
