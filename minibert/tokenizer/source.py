"""Reading the file that holds a vocabulary: its ids, its options, and the tokens added to it.

`tokenizer.json` holds a vocabulary of any kind; `vocab.txt` is WordPiece's, `vocab.json` and `merges.txt` byte-level
BPE's, `spiece.model` the unigram model's. Unsupported content is refused with the file's name and the place in it.
"""

import base64
import binascii
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, normalizers

from minibert.errors import InputError
from minibert.files.text import VOCABULARY_FILE, read_small
from minibert.tokenizer.spiece import read_spiece
from minibert.tokenizer.vocabulary import (
    BYTES,
    CONTINUATION,
    SPACE_MARK,
    ByteLevelBPE,
    Kind,
    SpecialTokens,
    Unigram,
    WordPiece,
)

MERGES = "merges.txt"
FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")

# The options that a file may set, by their names in tokenizer_config.json, and their defaults.
OPTIONS: dict[Kind, dict[str, bool | None]] = {
    "wordpiece": {"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True, "clean_text": True},
    "bpe": {"add_prefix_space": False, "trim_offsets": True},
    "unigram": {"do_lower_case": True, "keep_accents": False, "add_prefix_space": True},
}

Options = dict[str, bool | None]


@dataclass(frozen=True)
class Found:
    """What one file says about a vocabulary."""

    kind: Kind
    ids: dict[str, int]
    options: Options = field(default_factory=dict)  # only those that the file sets
    added: list[tuple[int, AddedToken]] = field(default_factory=list)
    of_kind: dict[str, Any] = field(default_factory=dict)  # the fields that only this kind of `Vocabulary` has
    is_run_as_it_stands: bool = True  # False: a generic class would split words differently from ours
    ends_blank: bool = False  # the file ends with a blank line, which is not a token

    @property
    def special_tokens(self) -> SpecialTokens:
        return {kind.kind: kind.special_tokens for kind in (WordPiece, ByteLevelBPE, Unigram)}[self.kind]


def read_source(source: Path) -> Found:
    """Read the file that holds a vocabulary. Raises InputError if it is unreadable, damaged or of another kind."""
    readers = {".txt": _read_vocab_txt, ".model": _read_spiece_model}
    read = _read_vocab_json if source.name == "vocab.json" else readers.get(source.suffix, _read_tokenizer_json)
    return read(source)


def _read_vocab_txt(path: Path) -> Found:
    """Read one token a line; its id is the line's number, from 0. Blank lines at the end are not tokens."""
    # Not splitlines(): a token may be U+2028, which splitlines() takes for a line end.
    text = _read_text(path).replace("\r\n", "\n")
    lines = text.rstrip("\n").split("\n")
    ids: dict[str, int] = {}
    for number, token in enumerate(lines):
        if not token:
            raise InputError(f"{path}, line {number + 1}: expected a token, found an empty line")
        if token in ids:
            raise InputError(f"{path}, line {number + 1}: token {token!r} is already on line {ids[token] + 1}")
        ids[token] = number
    words = (token.removeprefix(CONTINUATION) for token in ids)
    cased = any(word.isalpha() and word != word.lower() for word in words)
    return Found("wordpiece", ids, {"do_lower_case": not cased}, ends_blank=text.endswith("\n\n"))


def _read_vocab_json(path: Path) -> Found:
    """Read the object that maps tokens to ids, and merges.txt next to it: the version, then one merge per line."""
    merges_path = path.with_name(MERGES)
    if not merges_path.is_file():
        raise InputError(f"{merges_path}: no such file; expected the merges of {path.name} in it")
    lines = _read_text(merges_path).replace("\r\n", "\n").rstrip("\n").split("\n")
    pairs = []
    for number, line in enumerate(lines, 1):
        if line.startswith("#version"):
            continue
        left, space, right = line.partition(" ")
        if not (left and space and right) or " " in right:
            raise InputError(f"{merges_path}, line {number}: expected two pieces separated by a space, found {line!r}")
        pairs.append((left, right))
    ids = _checked_ids(str(path), read_object(path))
    return Found("bpe", ids, of_kind={"merges": _checked_merges(merges_path, pairs, path, ids)})


def _read_spiece_model(path: Path) -> Found:
    pieces, charsmap = read_spiece(path)
    ids, scores = _checked_pieces(str(path), pieces)
    return Found("unigram", ids, of_kind={"scores": scores, "charsmap": _checked_charsmap(str(path), charsmap)})


def _read_tokenizer_json(path: Path) -> Found:
    """Read and check the parts of a `tokenizers` file that decide ids; the library's own errors name no field."""
    content = read_object(path)
    model = _part(path, content, "model")
    try:
        added = [(int(entry["id"]), added_token(entry)) for entry in content["added_tokens"]]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}, added_tokens: expected a list of tokens, each with its id and flags") from error
    # Files of old versions have no type, but the fields reveal it.
    old = "BPE" if "merges" in model else "Unigram" if "unk_id" in model else "WordPiece"
    kind = model.get("type", old)
    readers = {"WordPiece": _wordpiece_parts, "BPE": _bpe_parts, "Unigram": _unigram_parts}
    if kind not in list(readers):
        raise InputError(f"{path}, model.type: expected one of {', '.join(readers)}, found {kind!r}")
    return readers[kind](path, content, model, added)


Added = list[tuple[int, AddedToken]]


def _wordpiece_parts(path: Path, content: dict[str, Any], model: dict[str, Any], added: Added) -> Found:
    normalizer, pre_tokenizer = (_part(path, content, name) for name in ("normalizer", "pre_tokenizer"))
    _expect(
        path,
        ("model.unk_token", model.get("unk_token"), WordPiece.special_tokens.unk),
        ("model.continuing_subword_prefix", model.get("continuing_subword_prefix"), CONTINUATION),
        ("normalizer.type", normalizer.get("type"), "BertNormalizer"),
        ("pre_tokenizer.type", pre_tokenizer.get("type"), "BertPreTokenizer"),
    )
    ids = _checked_ids(f"{path}, model.vocab", model.get("vocab"))
    max_word_chars = model.get("max_input_chars_per_word")
    if type(max_word_chars) is not int or max_word_chars < 1:
        raise InputError(f"{path}, model.max_input_chars_per_word: expected 1 or more, found {max_word_chars!r}")
    names = {"lowercase": "do_lower_case", "handle_chinese_chars": "tokenize_chinese_chars"}
    options = checked_options(path, "wordpiece", {names.get(name, name): value for name, value in normalizer.items()})
    return Found("wordpiece", ids, options, added, {"max_word_chars": max_word_chars})


def _bpe_parts(path: Path, content: dict[str, Any], model: dict[str, Any], added: Added) -> Found:
    pre_tokenizer = _part(path, content, "pre_tokenizer")
    _expect(
        path,
        ("normalizer", content.get("normalizer"), None),
        ("pre_tokenizer.type", pre_tokenizer.get("type"), "ByteLevel"),
        ("pre_tokenizer.use_regex", pre_tokenizer.get("use_regex", True), True),
        ("model.dropout", model.get("dropout"), None),
        ("model.continuing_subword_prefix", model.get("continuing_subword_prefix") or None, None),
        ("model.end_of_word_suffix", model.get("end_of_word_suffix") or None, None),
        ("model.ignore_merges", model.get("ignore_merges", False), False),
    )
    ids = _checked_ids(f"{path}, model.vocab", model.get("vocab"))
    pairs = model.get("merges")
    if not isinstance(pairs, list):
        raise InputError(f"{path}, model.merges: expected a list of pairs")
    pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in pairs]  # files of old versions have strings
    options = checked_options(path, "bpe", {"add_prefix_space": pre_tokenizer.get("add_prefix_space", True)})
    return Found("bpe", ids, options, added, {"merges": _checked_merges(path, pairs, path, ids)})


def _unigram_parts(path: Path, content: dict[str, Any], model: dict[str, Any], added: Added) -> Found:
    pre_tokenizer = _part(path, content, "pre_tokenizer")
    # transformers 4 wrote Metaspace alone, which makes a word of a space at a text's end. ALBERT's own class splits at
    # white space whatever the file says, as SentencePiece did in training.
    steps = pre_tokenizer.get("pretokenizers", [pre_tokenizer])
    kinds = [_type(step) for step in steps] if isinstance(steps, list) else []
    if kinds not in (["WhitespaceSplit", "Metaspace"], ["Metaspace"]):
        raise InputError(f"{path}, pre_tokenizer: expected WhitespaceSplit, then Metaspace, or Metaspace alone")
    marks = steps[-1]
    before = marks.get("prepend_scheme", "always")
    _expect(
        path,
        ("pre_tokenizer.replacement", marks.get("replacement"), SPACE_MARK),
        ("pre_tokenizer.prepend_scheme", before if marks.get("add_prefix_space", True) else "never", "always"),
        ("model.byte_fallback", model.get("byte_fallback", False), False),
    )
    options, charsmap = _albert_steps(path, _part(path, content, "normalizer"))
    ids, scores = _checked_pieces(f"{path}, model.vocab", model.get("vocab"))
    _expect(path, ("model.unk_id", model.get("unk_id"), ids.get(Unigram.special_tokens.unk)))
    of_kind = {"scores": scores, "charsmap": charsmap}
    return Found("unigram", ids, options, added, of_kind, is_run_as_it_stands=len(kinds) > 1)


def _checked_pieces(place: str, scored: object) -> tuple[dict[str, int], list[float]]:
    """Return the ids and scores of a unigram vocabulary.

    Raises InputError if `scored` is not a list of pieces with their scores, a score is not finite, or a piece repeats.
    """
    ids: dict[str, int] = {}
    scores: list[float] = []
    for entry in scored if isinstance(scored, list) else [scored]:
        match entry:
            case [str(piece), int(score) | float(score)] if not isinstance(score, bool):
                if not abs(score) <= sys.float_info.max:  # JSON can't write other numbers
                    raise InputError(f"{place}: piece {piece!r}: expected a finite score, found {score!r}")
                ids[piece] = len(scores)
                scores.append(float(score))
            case _:
                raise InputError(f"{place}: expected a list of pieces, each with its score")
    if len(ids) != len(scores):
        raise InputError(f"{place}: expected each piece only once")
    return ids, scores


def _checked_charsmap(place: str, charsmap: bytes | None) -> bytes | None:
    """Return the table of characters. Raises InputError if the library can't read it."""
    if charsmap is not None:
        try:
            normalizers.Precompiled(charsmap)
        except Exception as error:  # the library raises no specific type
            raise InputError(f"{place}: expected SentencePiece's table of characters, found a damaged one") from error
    return charsmap


def _albert_steps(path: Path, normalizer: dict[str, Any]) -> tuple[Options, bytes | None]:
    """Return the options and the table of characters that the steps of ALBERT's normaliser amount to."""
    steps = normalizer.get("normalizers")
    steps = list(steps) if isinstance(steps, list) else [normalizer]
    quotes = [{"type": "Replace", "pattern": {"String": mark}, "content": '"'} for mark in ("``", "''")]
    # Old files end with a step that merges spaces. It has no effect, since words are then split at white space.
    spaces = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
    kinds = [_type(step) for step in steps if step != spaces][2:]
    in_order = [kind for kind in ("NFKD", "StripAccents", "Lowercase", "Precompiled") if kind in kinds]
    if steps[:2] != quotes or kinds != in_order or ("NFKD" in kinds) != ("StripAccents" in kinds):
        raise InputError(f"{path}, normalizer: expected ALBERT's steps: quotation marks, accents, case, characters")
    options: Options = {"keep_accents": "StripAccents" not in kinds, "do_lower_case": "Lowercase" in kinds}
    tables = [step.get("precompiled_charsmap") for step in steps if _type(step) == "Precompiled"]
    place = f"{path}, normalizer.precompiled_charsmap"
    try:
        charsmap = base64.b64decode(tables[0], validate=True) if tables else None
    except (TypeError, binascii.Error, ValueError) as error:
        raise InputError(f"{place}: expected bytes in base64") from error
    return options, _checked_charsmap(place, charsmap)


def _type(step: object) -> object:
    return step.get("type") if isinstance(step, dict) else None


def _checked_ids(place: str, ids: object) -> dict[str, int]:
    if not isinstance(ids, dict) or not all(type(i) is int for i in ids.values()):
        raise InputError(f"{place}: expected an object that maps each token to its id")
    return ids


def _checked_merges(path: Path, pairs: list[Any], ids_path: Path, ids: dict[str, int]) -> list[tuple[str, str]]:
    """Return the merges. Raises InputError if one is not a pair of tokens that make a token, or a byte is missing."""
    merges: list[tuple[str, str]] = []
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            raise InputError(f"{path}: expected merges of two pieces, found {pair!r}")
        if missing := [token for token in (*pair, "".join(pair)) if token not in ids]:
            raise InputError(f"{path}: merge {' '.join(pair)!r}: {missing[0]!r} is not in the vocabulary")
        merges.append((pair[0], pair[1]))
    if lacking := sorted(set(BYTES).difference(ids)):
        raise InputError(f"{ids_path}: expected all 256 bytes in the vocabulary, missing: {' '.join(lacking[:5])}")
    return merges


def _part(path: Path, content: dict[str, Any], name: str) -> dict[str, Any]:
    part = content.get(name)
    if not isinstance(part, dict):
        raise InputError(f"{path}, {name}: expected an object")
    return part


def _read_text(path: Path) -> str:
    try:
        return read_small(path, limit=VOCABULARY_FILE)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object. Raises InputError like `read_json`, or if it holds something else."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a JSON object")
    return content


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises InputError if it is not UTF-8, not JSON (naming the line), nested too deep, or a number has too many digits.
    """
    try:
        return json.loads(_read_text(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: not readable as JSON ({error.msg})") from error
    except ValueError:
        raise InputError(f"{path}: expected JSON, found a number with too many digits") from None
    except RecursionError:
        raise InputError(f"{path}: expected JSON, found too many levels of nesting") from None


def checked_options(path: Path, kind: Kind, found: dict[str, Any]) -> Options:
    """Return the kind's options in `found`, which has them under their names in tokenizer_config.json.

    Raises InputError if a value is neither true nor false (nor null, which strip_accents allows).
    """
    options = {name: found[name] for name in OPTIONS[kind] if name in found}
    for name, value in options.items():
        if not isinstance(value, bool) and not (value is None and name == "strip_accents"):
            raise InputError(f"{path}, {name}: expected true or false, found {value!r}")
    return options


def _expect(path: Path, *expected: tuple[str, object, object]) -> None:
    """Compare (name in the file, value found, value wanted). Raises InputError if one differs, naming the first."""
    for name, found, wanted in expected:
        if found != wanted:
            raise InputError(f"{path}, {name}: expected {wanted!r}, found {found!r}")


def added_token(entry: dict[str, Any] | str, **flags: bool) -> AddedToken:
    """Return the token that transformers wrote as `entry`, with or without flags.

    Raises KeyError or TypeError if it is written in another way; the caller names the place.
    """
    if isinstance(entry, str):
        return AddedToken(entry, **flags)
    return AddedToken(entry["content"], **({name: bool(entry[name]) for name in FLAGS if name in entry} | flags))
