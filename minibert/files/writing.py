"""Files and directories that are whole or not there: written aside, then renamed. And what may be written at all.

What a killed process has written aside stays behind as `.NAME.PROCESS.partial`, until the next one that writes there.
"""

import contextlib
import hashlib
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path

from minibert.errors import InputError
from minibert.files.text import STANDARD_INPUT, check_path, open_file, shown


def real_path(path: str | Path) -> Path:
    """The place that a name stands for. As `Path.resolve`, which raises a RuntimeError where links lead in a circle."""
    return Path(os.path.realpath(path))


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal. Raises as `check_file`."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- Before the work is done, not after it ----------------------------------------------------------------------------


def check_new(directory: str | Path) -> None:
    """Raises InputError: something is there already, or as `check_path`."""
    check_path(directory)
    if os.path.lexists(directory):
        raise InputError(f"{directory}: already exists; give a directory that does not")


def check_writable(path: Path, *, reads: Iterable[str | None] = ()) -> None:
    """
    reads: the files (- is standard input) and directories that the work is made of, by whatever name.

    Raises InputError: `path` is a directory, or in one that is not there or may not be written to, or writing it would
    replace one of those files, or one that belongs to one of those directories; or as `check_path`.
    """
    check_path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a directory, expected a file to write")
    if _is_no_file(path):
        return
    check_path(_name_aside(path))  # which is longer
    for source in reads:
        if source is not None and _replaces(path, source):
            raise InputError(f"{path}: would replace what is read ({shown(source)}); give it another name")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no directory {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: no permission to write into {path.parent}")


# What belongs to a model directory, a run's or one of Hugging Face's.
BELONGING = (
    "config.json", "*.safetensors", "*.bin", "*.index.json", "tokenizer.json", "vocab.txt", "vocab.json",
    "spiece.model", "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "modules.json", "sentence_*_config.json", "config_sentence_transformers.json",
    "run.toml", "metrics.jsonl", "summary.json", "curves.png", "confusion.png",
)  # fmt: skip


def _replaces(path: Path, source: str) -> bool:
    """Whether writing `path` would replace the file `source`, or one that belongs to the directory `source`."""
    if not os.path.isdir(source):
        return _is_same(path, source)
    if any(_is_same(path, place) for place in Path(source).iterdir() if _belongs(place.name)):
        return True  # also by a link
    target, directory = real_path(path), real_path(source)
    inside = target.relative_to(directory).parts if target.is_relative_to(directory) else ()
    return bool(inside) and (_belongs(inside[-1]) or inside[0] in ("state", "data"))


def _belongs(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in BELONGING)


def _is_same(path: Path, source: str | Path) -> bool:
    """Whether both are one file, by its name, a link, or a hard link."""
    try:
        there = os.fstat(sys.stdin.fileno()) if source == STANDARD_INPUT else os.stat(source)
        return os.path.samestat(path.stat(), there)
    except (OSError, AttributeError):  # one is not there yet, or standard input is closed
        return real_path(path) == real_path(source)


def _is_no_file(path: Path) -> bool:
    """Whether something that is not kept in a directory stands there: a pipe, a terminal, a device."""
    return path.exists() and not path.is_file()


# --- Writing ----------------------------------------------------------------------------------------------------------


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Has `write` fill a file beside `path`, then renames it: a reader sees the old file or the whole new one.

    A link stays one: the file that it names is replaced. What is no file, such as /dev/stdout, is written into.
    """
    if _is_no_file(path):  # asked before links are followed: a pipe has no path but the link's
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
    """As `write_whole`, in UTF-8 and with the same line ends on every system."""
    write_whole(path, lambda aside: aside.write_text(text, encoding="utf-8", newline="\n"))


@contextlib.contextmanager
def written_whole(directory: str | Path, *, last: str = "") -> Iterator[Path]:
    """A place to write files into, which at the end of the block are those of `directory`: all of them, or none.

    A directory that is there already has its files of the same names replaced, each whole, and `last` after the others.
    When the block fails, what was there stays as it was, and nothing is left behind.
    """
    directory = real_path(directory)
    # On the result's own file system, so that it can be renamed: inside a directory that is there, else beside it.
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
    """Makes a directory and its parents. If the block fails, they are taken away with all that is in it."""
    with parents_made(path):
        path.mkdir()
        try:
            yield path
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise


@contextlib.contextmanager
def parents_made(path: Path) -> Iterator[None]:
    """Makes the parents of `path`. If the block fails, those that were made and are empty are taken away."""
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
    """Returns once a file's content, or a directory's entries where the system opens one, are on the disk itself."""
    if not path.is_dir():
        descriptor = os.open(path, os.O_RDWR)  # to write, else Windows refuses
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
    """Has an error of the system name the file that is asked for: a full disk names none, and others the one aside."""
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
    """Where what will be `path` is written first; what killed processes left of it is removed."""
    clear_leftovers(path.parent, path.name)
    return _name_aside(path)


def _name_aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def clear_leftovers(directory: Path, name: str | None = None) -> None:
    """Removes them."""
    for path in leftovers(directory, name):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def leftovers(directory: Path, name: str | None = None) -> list[Path]:
    """What killed processes left in a directory of what they wrote aside, of `name` alone or of everything.

    What belongs to a process that lives is none.
    """
    found = []
    with contextlib.suppress(OSError):  # there is no such directory, or it may not be looked into
        for path in directory.iterdir():
            aside = _ASIDE.fullmatch(path.name)
            if aside and name in (None, aside["name"]) and not _lives(aside["process"]):
                found.append(path)
    return found


# Three were written without a process's number before.
_ASIDE = re.compile(r"\.(?P<name>model|curves\.png|confusion\.png|.+(?=\.\d))(\.(?P<process>\d+))?\.partial", re.DOTALL)


def _lives(process: str | None) -> bool:
    import psutil  # here: most commands find nothing to ask about

    # Of this process's number is also what one of before left that had it: in containers they repeat.
    return process is not None and int(process) != os.getpid() and psutil.pid_exists(int(process))
