"""Files and directories written whole or not at all: aside, then renamed. And checks of what may be written.

What a killed process was writing stays there as `.NAME.PROCESS.partial` until another process writes there.
"""

import contextlib
import gzip
import hashlib
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatch
from itertools import combinations
from pathlib import Path

from minibert.errors import InputError
from minibert.files.text import STANDARD_INPUT, check_path, is_gzip, open_file, shown


def real_path(path: str | Path) -> Path:
    """Return the path with its links resolved, without the RuntimeError of `Path.resolve` for a loop of links."""
    return Path(os.path.realpath(path))


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal. Raises as `check_file` does."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- Before the work is done, not after it ----------------------------------------------------------------------------


def check_new(directory: str | Path) -> None:
    """Check that nothing is there. Raises InputError if something already exists, or as `check_path` does."""
    check_path(directory)
    if os.path.lexists(directory):
        raise InputError(f"{directory} already exists; choose a new directory")


def check_writable(path: Path, *, reads: Iterable[str | None] = ()) -> None:
    """Check that a file can be written, and replaces nothing that the work reads.

    reads: the files (- is standard input) and directories that are read, under any name.

    Raises InputError as `check_path` does, or if `path` is a directory, is in one that is missing or not writable, or
    would replace one of those files, or a file that belongs to one of those directories.
    """
    check_path(path)
    if path.is_dir():
        raise InputError(f"{path} is a directory, expected a file to write")
    if _is_no_file(path):
        return
    check_path(_name_aside(path))  # the longer name
    for source in reads:
        if source is not None and _replaces(path, source):
            raise InputError(f"{path} would overwrite what this command reads ({shown(source)}); give it another name")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no directory {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: no permission to write into {path.parent}")


# What belongs to a model directory, a run directory or a Hugging Face directory.
BELONGING = (
    "config.json", "*.safetensors", "*.bin", "*.index.json", "tokenizer.json", "vocab.txt", "vocab.json",
    "spiece.model", "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "modules.json", "sentence_*_config.json", "config_sentence_transformers.json", "README.md",
    "run.toml", "metrics.jsonl", "summary.json", "curves.png", "confusion.png", "skipped.txt", "words.txt",
)  # fmt: skip


def _replaces(path: Path, source: str) -> bool:
    """Return whether writing `path` would replace the file `source`, or a file of the directory `source`."""
    if not os.path.isdir(source):
        return _is_same(path, source)
    if any(_is_same(path, place) for place in Path(source).iterdir() if _belongs(place.name)):
        return True  # also through a link
    target, directory = real_path(path), real_path(source)
    inside = target.relative_to(directory).parts if target.is_relative_to(directory) else ()
    return bool(inside) and (_belongs(inside[-1]) or inside[0] in ("state", "data"))


def _belongs(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in BELONGING)


def _is_same(path: Path, source: str | Path) -> bool:
    """Return whether both are the same file, by name, link or hard link."""
    try:
        there = os.fstat(sys.stdin.fileno()) if source == STANDARD_INPUT else os.stat(source)
        return os.path.samestat(path.stat(), there)
    except (OSError, AttributeError):  # one does not exist yet, or standard input is closed
        return real_path(path) == real_path(source)


def check_outputs(outputs: Mapping[str, str | None], *, reads: Iterable[str | None]) -> None:
    """Check the files that a command writes: option -> the file, or None if it is not given; reads: as above.

    Raises InputError as `check_writable` does, or if two options name the same file, or a picture is not to be a .png.
    """
    given = {option: Path(name) for option, name in outputs.items() if name is not None}
    read = list(reads)
    for path in given.values():
        check_writable(path, reads=read)
    for one, other in combinations(given, 2):
        if real_path(given[one]) == real_path(given[other]):
            raise InputError(f"{given[one]}: {one} and {other} name the same file")
    picture = given.get("--picture")
    if picture is not None and picture.suffix.lower() != ".png":
        raise InputError(f"{picture}: expected a name that ends in .png")


def _is_no_file(path: Path) -> bool:
    """Return whether the path exists but is not a regular file: a pipe, a terminal, a device."""
    return path.exists() and not path.is_file()


# --- Writing ----------------------------------------------------------------------------------------------------------


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, then rename it: a reader sees either the old file or the whole new one.

    A link stays a link: the file it names is replaced. What is not a file, such as /dev/stdout, is written to directly.
    """
    if _is_no_file(path):  # checked before links are followed: a pipe has no path other than the link
        with _named(path, path):
            write(path)
        return
    path = real_path(path)
    aside = _aside(path)
    with _named(path, aside):
        try:
            write(aside)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)


def write_whole_text(path: Path, text: str) -> None:
    """Write as `write_whole` does, in UTF-8 and with the same line ends on every system."""
    write_whole(path, lambda aside: aside.write_text(text, encoding="utf-8", newline="\n"))


def write_lines(path: Path, lines: Iterable[bytes]) -> None:
    """Write as `write_whole` does, lines as they come, compressed if the name ends in .gz."""

    def write(aside: Path) -> None:
        with open(aside, "wb") as file:
            if is_gzip(str(path)):
                with gzip.GzipFile("", "wb", fileobj=file) as stream:
                    stream.writelines(lines)
            else:
                file.writelines(lines)

    write_whole(path, write)


@contextlib.contextmanager
def written_whole(directory: str | Path, *, last: str = "") -> Iterator[Path]:
    """Yield a directory for files that become those of `directory` at the end of the block: all of them, or none.

    If `directory` exists, its files of the same names are replaced, each whole, and `last` after the others. If the
    block fails, everything stays as it was, and nothing is left over.
    """
    directory = real_path(directory)
    # On the target's own file system, so that it can be renamed: inside the directory if it exists, else beside it.
    aside = _aside(directory / "model" if directory.exists() else directory)
    with _named(directory, aside), new_directory(aside):
        yield aside
        if directory.exists():
            for path in sorted(aside.iterdir(), key=lambda path: path.name == last):
                path.replace(directory / path.name)
            aside.rmdir()
        else:
            aside.rename(directory)


@contextlib.contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """Make a directory and its parents. If the block fails, remove it with its contents, and those parents if empty."""
    with parents_made(path):
        path.mkdir()
        try:
            yield path
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise


@contextlib.contextmanager
def parents_made(path: Path) -> Iterator[None]:
    """Make the parents of `path`. If the block fails, remove those that were made and are empty."""
    with contextlib.ExitStack() as undo:
        for parent in reversed([parent for parent in path.parents if not parent.exists()]):
            parent.mkdir(exist_ok=True)
            undo.callback(_remove_empty, parent)
        yield
        undo.pop_all()


def _remove_empty(directory: Path) -> None:
    with contextlib.suppress(OSError):  # another process may have put something there
        directory.rmdir()


def to_disk(path: Path) -> None:
    """Wait until a file's content, or a directory's entries if the system can open it, are on the disk itself."""
    if not path.is_dir():
        descriptor = os.open(path, os.O_RDWR)  # for writing, which Windows requires
    elif hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    else:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _named(path: Path, aside: Path) -> Iterator[None]:
    """Make an OSError name the file asked for: one for a full disk names none, others the one written aside."""
    try:
        yield
    except OSError as error:
        at = error.filename
        if error.errno is not None and (at is None or Path(os.fsdecode(at)).is_relative_to(aside)):
            error.filename = str(path)
            error.filename2 = None
        raise


# --- What killed processes left ---------------------------------------------------------------------------------------


def _aside(path: Path) -> Path:
    """Return where `path` is written first, after removing what killed processes left of it."""
    clear_leftovers(path.parent, path.name)
    return _name_aside(path)


def _name_aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def clear_leftovers(directory: Path, name: str | None = None) -> None:
    """Remove what `leftovers` finds."""
    for path in leftovers(directory, name):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def leftovers(directory: Path, name: str | None = None) -> list[Path]:
    """Return the files that killed processes left unfinished in a directory, those of `name` only or all of them.

    Files of a running process are not included.
    """
    found = []
    with contextlib.suppress(OSError):  # there is no such directory, or it may not be listed
        for path in directory.iterdir():
            aside = _ASIDE.fullmatch(path.name)
            if aside and name in (None, aside["name"]) and not _lives(aside["process"]):
                found.append(path)
    return found


# Earlier versions wrote three of them without the process's number.
_ASIDE = re.compile(r"\.(?P<name>model|curves\.png|confusion\.png|.+(?=\.\d))(\.(?P<process>\d+))?\.partial", re.DOTALL)


def _lives(process: str | None) -> bool:
    import psutil  # imported here: most commands find nothing to check

    # A file with this process's own number is left from an earlier process: in containers, numbers repeat.
    return process is not None and int(process) != os.getpid() and psutil.pid_exists(int(process))
