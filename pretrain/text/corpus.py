"""Raw text, wherever the user keeps it -> documents -> paragraphs -> sentences.

Documents are streamed in a defined order, one at a time in memory, and none is longer than a limit.
"""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from tqdm import tqdm

from minibert.errors import InputError
from minibert.files.text import (
    LONGEST_LINE,
    NO_TEXT_SUFFIXES,
    check_file,
    check_text,
    parse_object,
    read_lines,
    read_pieces,
    reason,
    suffix,
)
from pretrain.text import pydocs
from pretrain.text.sentences import fold, split_sentences

EMBEDDED = "pydocs"
_JSONL_SUFFIXES = (".jsonl", ".jsonl.gz")
_SUFFIXES = (".txt", ".txt.gz", *_JSONL_SUFFIXES)
LONGEST_DOCUMENT = LONGEST_LINE  # bytes: memory holds several copies of one
_BLANK_LINE = re.compile(r"\n\s*\n")


def read_documents(
    corpus: Sequence[str], *, text_field: str = "text", document_per_line: bool = False
) -> Iterator[str]:
    """Stream the documents of a corpus: the entries in the order given, the files of a directory sorted by path.

    An entry is `pydocs` (the embedded corpus; a file of that name is `./pydocs`), a file, or a directory, which stands
    for all *.txt, *.txt.gz, *.jsonl and *.jsonl.gz files below it. In text files a blank line ends a document, or every
    line if `document_per_line`; so do, with a note, `LONGEST_DOCUMENT` bytes. In .jsonl files each line is an object
    whose `text_field` is a document, in which a blank line separates paragraphs.

    Raises InputError, naming file and line or byte, if something can't be read, is not UTF-8 text or not a JSON object
    with that field, if a .jsonl line is too long, or if there is not a single document.
    """
    check_corpus(corpus, text_field=text_field, document_per_line=document_per_line)
    below = partial(_documents_below, text_field=text_field, document_per_line=document_per_line)
    empty = True
    for entry in corpus:
        for document in pydocs.documents() if entry == EMBEDDED else below(Path(entry)):
            empty = False
            yield document
    if empty:
        raise InputError(f"{', '.join(corpus)}: no document found, expected text")


def check_corpus(corpus: Sequence[str], *, text_field: str = "text", document_per_line: bool = False) -> None:
    """Check a corpus without reading it. Raises InputError if a path, which the message names, is missing, empty or
    without text, or if an option is for another kind of files."""
    if not text_field:
        raise InputError("--text-field: empty, expected the name of the field that holds the text")
    given = [entry for entry in corpus if entry != EMBEDDED]
    for entry in given:
        path = Path(entry)
        try:
            if path.is_dir():
                if not any(file.stat().st_size for file in _text_files(path)):
                    raise InputError(
                        f"{entry}: no text in this directory, expected *.txt, *.txt.gz, *.jsonl or *.jsonl.gz"
                    )
                continue
            check_file(path)
            if suffix(entry) in NO_TEXT_SUFFIXES:
                raise InputError(
                    f"{entry}: {suffix(entry)} is not supported, expected text in .txt or .jsonl files, plain or .gz"
                )
            # A pipe has no size before it is read.
            if path.is_file() and path.stat().st_size == 0:
                raise InputError(f"{entry}: the file is empty, expected text")
            if not os.access(path, os.R_OK):
                raise InputError(f"{entry}: no permission to read it")
        except FileNotFoundError as error:
            raise InputError(
                f"{entry}: no such file or directory, expected a corpus ('pydocs' is the built-in one)"
            ) from error
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            raise InputError(f"{entry} cannot be read ({reason(error)})") from error
    if not document_per_line and text_field == "text":
        return  # the kinds of files do not matter, and a large directory takes a while
    in_lines = {_is_jsonl(file) for entry in given for file in _files_of(Path(entry))}
    if document_per_line and False not in in_lines:
        raise InputError("--document-per-line has no effect here: no --corpus file is a text file")
    if text_field != "text" and True not in in_lines:
        raise InputError(f"--text-field {text_field} has no effect here: no --corpus file is a .jsonl file")


def split_document(text: str, *, sentence_per_line: bool = False) -> list[list[str]]:
    """Return a document's paragraphs, each a list of its sentences; no sentence and no paragraph is empty.

    With `sentence_per_line` every line is a sentence; otherwise the lines of a paragraph are wrapped text, which is
    joined and split into sentences (English and Chinese).
    """
    paragraphs = []
    for block in _BLANK_LINE.split(text):
        sentences = [fold(line) for line in block.split("\n")] if sentence_per_line else split_sentences(block)
        paragraphs.append([sentence for sentence in sentences if sentence])
    return [sentences for sentences in paragraphs if sentences]


def _documents_below(path: Path, *, text_field: str, document_per_line: bool) -> Iterator[str]:
    for file in _files_of(path):
        if _is_jsonl(file):
            yield from _jsonl_documents(file, text_field)
        else:
            yield from _text_documents(file, document_per_line=document_per_line)


def _files_of(path: Path) -> list[Path]:
    return _text_files(path) if path.is_dir() else [path]


def _is_jsonl(file: Path) -> bool:
    return file.name.lower().endswith(_JSONL_SUFFIXES)


def _text_files(directory: Path) -> list[Path]:
    files = [Path(folder, name) for folder, _, names in os.walk(directory, onerror=_refuse) for name in names]
    # By parts and not as one string, so that the order does not depend on how "/" compares with other characters.
    return sorted((f for f in files if f.name.lower().endswith(_SUFFIXES) and f.is_file()), key=lambda f: f.parts)


def _refuse(error: OSError) -> None:
    raise error


def _text_documents(path: Path, *, document_per_line: bool) -> Iterator[str]:
    lines: list[str] = []
    size = last = 0  # bytes of these lines, and the row of the last
    noted = False
    for row, piece in read_pieces(str(path)):
        text = piece.strip()
        added = len(text.encode())
        too_long = size + added > LONGEST_DOCUMENT
        ends = row != last and (document_per_line or not text)
        if lines and (ends or too_long):
            yield "\n".join(lines)
            if not (ends or noted):
                limit = f"{LONGEST_DOCUMENT:,} bytes without a blank line"
                note = f"note     {path}:{row}: {limit}; a document ends here, and again after each such stretch"
                tqdm.write(note, file=sys.stderr)
                noted = True
            lines, size = [], 0
        if text:
            lines.append(text)
            size += added + 1
        last = row
    if lines:
        yield "\n".join(lines)


def _jsonl_documents(path: Path, text_field: str) -> Iterator[str]:
    for number, line in read_lines(str(path)):
        if not line.strip():
            continue
        record = parse_object(line, f"{path}:{number}")
        if text_field not in record:
            present = ", ".join(repr(name) for name in list(record)[:5]) or "none"
            raise InputError(f"{path}:{number}: no field {text_field!r}; the object has {present} (see --text-field)")
        text = record[text_field]
        if not isinstance(text, str) or text.strip():
            text = check_text(text, f"{path}:{number}: field {text_field!r}")
            yield text.replace("\r\n", "\n").strip()
