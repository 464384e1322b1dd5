"""A model's name on the Hugging Face hub, given instead of a directory (extra `hub`)."""

import re
from pathlib import Path

from minibert.errors import InputError
from minibert.files.text import check_path
from minibert.tokenizer import directory as vocabulary_directory
from weights_convert import sentence_files
from weights_convert.weight_files import BIN, SAFETENSORS

EXTRA = "the optional dependency `hub`: pip install -e '.[hub]' in minibert's checkout"
HUB_NAME = r"[\w-][\w.-]*(/[\w.-]+)?"  # "bert-base-uncased", "google-bert/bert-base-uncased"
ALL_BUT_WEIGHTS = ["config.json", *vocabulary_directory.ALL_FILES, *sentence_files.ALL_FILES]


def directory_named(name: str | Path) -> Path:
    """Return the directory `name`, or if there is none, that of the files downloaded from the hub's model of that name.

    Raises InputError if there is neither, the hub can't be reached, or the extra `hub` is not installed.
    """
    check_path(name)
    if Path(name).is_dir():
        return Path(name)
    if not re.fullmatch(HUB_NAME, str(name)):
        without = str(name).rstrip("/")
        hint = f"; {without}, without the slash, is looked for on the hub, which needs {EXTRA}"
        raise InputError(f"{name}: no such directory{hint if re.fullmatch(HUB_NAME, without) else ''}")
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise InputError(f"{name}: no such directory, and looking for it on the hub needs {EXTRA}") from None
    try:
        files = snapshot_download(str(name), allow_patterns=[*ALL_BUT_WEIGHTS, *_forms(SAFETENSORS)])
        if not any(Path(files).glob("model*.safetensors")):  # only then: most models have both, each of full size
            files = snapshot_download(str(name), allow_patterns=_forms(BIN))
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{name}: no such directory, and not available from the hub ({reason})") from error
    return Path(files)


def _forms(name: str) -> list[str]:
    """Return the patterns of the weights' file, of its shards, and of their index."""
    stem, _, suffix = name.partition(".")
    return [name, f"{stem}-*.{suffix}", f"{name}.index.json"]
