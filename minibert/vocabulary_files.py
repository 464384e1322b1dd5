"""The files that a vocabulary stands in, and what lies beside them.

`tokenizer.json` holds one of any kind; `vocab.txt` is WordPiece's, `vocab.json` and `merges.txt` byte-level BPE's,
`spiece.model` the unigram model's. Beside them transformers keeps options and added tokens, in files that changed with
its versions: `tokenizer_config.json`, `special_tokens_map.json`, `added_tokens.json`. What changes ids there is heeded
or refused.
"""

from __future__ import annotations

import base64
import binascii
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, normalizers

from minibert.errors import InputError
from minibert.spiece import read_spiece
from minibert.vocabulary import (
    BYTES,
    CONTINUATION,
    LONE_SURROGATE,
    SPACE_MARK,
    ByteLevelBPE,
    Kind,
    Normalization,
    SpecialTokens,
    Unigram,
    Vocabulary,
    WordPiece,
)

CONFIG, SPECIALS, ADDED = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"
MERGES = "merges.txt"
# In the order in which they are looked for.
SOURCES = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model")
ALL_FILES = (*SOURCES, MERGES, CONFIG, SPECIALS, ADDED)

NAMED = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")  # as in SpecialTokens
FURTHER = ("additional_special_tokens", "extra_special_tokens")  # the same under an old name and a new one
FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")

# Classes of transformers that do what we do; of the generic ones `tokenizer.json` says everything.
CLASSES: dict[Kind, tuple[str, ...]] = {
    "wordpiece": ("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer"),
    "bpe": ("RobertaTokenizer",),
    "unigram": ("AlbertTokenizer",),
}
ALL_CLASSES = tuple(name for names in CLASSES.values() for name in names)
GENERIC_CLASSES = ("PreTrainedTokenizerFast", "TokenizersBackend")

# What a file may set, under the names that these have in tokenizer_config.json, and what holds where nothing does.
OPTIONS: dict[Kind, dict[str, bool | None]] = {
    "wordpiece": {"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True, "clean_text": True},
    "bpe": {"add_prefix_space": False, "trim_offsets": True},
    "unigram": {"do_lower_case": True, "keep_accents": False, "add_prefix_space": True},
}

Options = dict[str, bool | None]


@dataclass(frozen=True)
class _Found:
    """What one file says of a vocabulary."""

    kind: Kind
    ids: dict[str, int]
    options: Options = field(default_factory=dict)  # those that it sets
    added: list[tuple[int, AddedToken]] = field(default_factory=list)
    of_kind: dict[str, Any] = field(default_factory=dict)  # the fields that this kind of `Vocabulary` has alone

    @property
    def special_tokens(self) -> SpecialTokens:
        return {kind.kind: kind.special_tokens for kind in (WordPiece, ByteLevelBPE, Unigram)}[self.kind]


def read_vocabulary(path: Path) -> Vocabulary:
    """Read a directory or a file; what may stand there, and what is refused, is written at `Tokenizer.load`."""
    source = _find_source(path)
    readers = {".txt": _read_vocab_txt, ".model": _read_spiece_model}
    read = _read_vocab_json if source.name == "vocab.json" else readers.get(source.suffix, _read_tokenizer_json)
    found = read(source)
    beside = _read_beside(source, found)
    options = OPTIONS[found.kind] | found.options | beside.options
    added = _checked_added(source, found, beside)
    if found.kind == "wordpiece":
        lowercase, accents = bool(options["do_lower_case"]), options["strip_accents"]
        normalization = Normalization(
            lowercase=lowercase,
            strip_accents=lowercase if accents is None else accents,
            chinese_chars=bool(options["tokenize_chinese_chars"]),
            clean_text=bool(options["clean_text"]),
        )
        return WordPiece(ids=found.ids, normalization=normalization, added=added, **found.of_kind)
    if found.kind == "bpe":
        _refuse_option(source, options, "trim_offsets", True)
        with_space = bool(options["add_prefix_space"])
        return ByteLevelBPE(ids=found.ids, added=added, add_prefix_space=with_space, **found.of_kind)
    _refuse_option(source, options, "add_prefix_space", True)
    normalization = Normalization(
        lowercase=bool(options["do_lower_case"]),
        strip_accents=not options["keep_accents"],
        chinese_chars=False,
        clean_text=False,
    )
    return Unigram(ids=found.ids, normalization=normalization, added=added, **found.of_kind)


def _refuse_option(source: Path, options: Options, name: str, expected: bool) -> None:
    if options[name] is not expected:
        raise InputError(f"{source}, {name}: expected {str(expected).lower()}, found {options[name]!r}")


def _find_source(path: Path) -> Path:
    if path.is_file():
        return path
    for name in SOURCES:
        if (path / name).is_file():
            return path / name
    expected = f"expected {', '.join(SOURCES[:-1])} or {SOURCES[-1]} in it"
    raise InputError(f"{path}: {expected if path.is_dir() else 'no such file or directory'}")


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected UTF-8, byte {error.start} is not") from error


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(_read_text(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: expected JSON, {error.msg}") from error
    except RecursionError:
        raise InputError(f"{path}: expected JSON, nested too deep") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a JSON object")
    return content


def _checked_options(path: Path, kind: Kind, found: dict[str, Any]) -> Options:
    """A kind's options among `found`, under the names that they have in tokenizer_config.json."""
    options = {name: found[name] for name in OPTIONS[kind] if name in found}
    for name, value in options.items():
        if not isinstance(value, bool) and not (value is None and name == "strip_accents"):
            raise InputError(f"{path}, {name}: expected true or false, found {value!r}")
    return options


def _expect(path: Path, expected: Iterable[tuple[str, object, object]]) -> None:
    """Each a name in the file, what stands there, and what has to.

    Raises:
        InputError: the first that is another.
    """
    for name, found, wanted in expected:
        if found != wanted:
            raise InputError(f"{path}, {name}: expected {wanted!r}, found {found!r}")


# --- The vocabulary itself -------------------------------------------------------------------------------------------


def _read_vocab_txt(path: Path) -> _Found:
    """One token a line; the line's number, from 0, is its id."""
    # Not splitlines(): a token may be U+2028, which it takes for the end of a line.
    lines = _read_text(path).replace("\r\n", "\n").removesuffix("\n").split("\n")
    ids: dict[str, int] = {}
    for number, token in enumerate(lines):
        if not token:
            raise InputError(f"{path}, line {number + 1}: expected a token, found an empty line")
        if token in ids:
            raise InputError(f"{path}, line {number + 1}: token {token!r} stands on line {ids[token] + 1} already")
        ids[token] = number
    words = (token.removeprefix(CONTINUATION) for token in ids)
    cased = any(word.isalpha() and word != word.lower() for word in words)
    return _Found("wordpiece", ids, {"do_lower_case": not cased})


def _read_vocab_json(path: Path) -> _Found:
    """An object of tokens and their ids; and beside it the merges, one a line after a line that names the version."""
    merges_path = path.with_name(MERGES)
    if not merges_path.is_file():
        raise InputError(f"{merges_path}: no such file; expected the merges of {path.name} in it")
    lines = _read_text(merges_path).replace("\r\n", "\n").removesuffix("\n").split("\n")
    pairs = []
    for number, line in enumerate(lines, 1):
        if line.startswith("#version"):
            continue
        left, space, right = line.partition(" ")
        if not (left and space and right) or " " in right:
            raise InputError(f"{merges_path}, line {number}: expected two pieces and a space between, found {line!r}")
        pairs.append((left, right))
    ids = _checked_ids(path, "the whole", _read_object(path))
    merges = _checked_merges(merges_path, pairs, ids)
    _check_bytes(path, ids)
    return _Found("bpe", ids, of_kind={"merges": merges})


def _read_spiece_model(path: Path) -> _Found:
    pieces, scores, charsmap = read_spiece(path)
    ids, scores = _checked_pieces(str(path), list(zip(pieces, scores, strict=True)))
    return _Found("unigram", ids, of_kind={"scores": scores, "charsmap": _checked_charsmap(str(path), charsmap)})


def _read_tokenizer_json(path: Path) -> _Found:
    """The parts of a `tokenizers` file that decide ids. Each is checked: the library's own errors name no field."""
    content = _read_object(path)
    model = _part(path, content, "model")
    try:
        added = [(int(entry["id"]), _added_token(entry)) for entry in content["added_tokens"]]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}, added_tokens: expected a list of tokens, each with its id and flags") from error
    # Files of old versions have no type: the fields tell it.
    old = "BPE" if "merges" in model else "Unigram" if "unk_id" in model else "WordPiece"
    kind = model.get("type", old)
    readers = {"WordPiece": _wordpiece_parts, "BPE": _bpe_parts, "Unigram": _unigram_parts}
    if kind not in list(readers):
        raise InputError(f"{path}, model.type: expected one of {', '.join(readers)}, found {kind!r}")
    return readers[kind](path, content, model, added)


Added = list[tuple[int, AddedToken]]


def _wordpiece_parts(path: Path, content: dict[str, Any], model: dict[str, Any], added: Added) -> _Found:
    normalizer, pre_tokenizer = (_part(path, content, name) for name in ("normalizer", "pre_tokenizer"))
    expected = [
        ("model.unk_token", model.get("unk_token"), WordPiece.special_tokens.unk),
        ("model.continuing_subword_prefix", model.get("continuing_subword_prefix"), CONTINUATION),
        ("normalizer.type", normalizer.get("type"), "BertNormalizer"),
        ("pre_tokenizer.type", pre_tokenizer.get("type"), "BertPreTokenizer"),
    ]
    _expect(path, expected)
    ids = _checked_ids(path, "model.vocab", model.get("vocab"))
    max_word_chars = model.get("max_input_chars_per_word")
    if type(max_word_chars) is not int or max_word_chars < 1:
        raise InputError(f"{path}, model.max_input_chars_per_word: expected 1 or more, found {max_word_chars!r}")
    names = {"lowercase": "do_lower_case", "handle_chinese_chars": "tokenize_chinese_chars"}
    options = _checked_options(path, "wordpiece", {names.get(name, name): value for name, value in normalizer.items()})
    return _Found("wordpiece", ids, options, added, {"max_word_chars": max_word_chars})


def _bpe_parts(path: Path, content: dict[str, Any], model: dict[str, Any], added: Added) -> _Found:
    pre_tokenizer = _part(path, content, "pre_tokenizer")
    expected = [
        ("normalizer", content.get("normalizer"), None),
        ("pre_tokenizer.type", pre_tokenizer.get("type"), "ByteLevel"),
        ("pre_tokenizer.use_regex", pre_tokenizer.get("use_regex", True), True),
        ("model.dropout", model.get("dropout"), None),
        ("model.continuing_subword_prefix", model.get("continuing_subword_prefix") or None, None),
        ("model.end_of_word_suffix", model.get("end_of_word_suffix") or None, None),
        ("model.ignore_merges", model.get("ignore_merges", False), False),
    ]
    _expect(path, expected)
    ids = _checked_ids(path, "model.vocab", model.get("vocab"))
    pairs = model.get("merges")
    if not isinstance(pairs, list):
        raise InputError(f"{path}, model.merges: expected a list of pairs")
    pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in pairs]  # files of old versions have strings
    options = _checked_options(path, "bpe", {"add_prefix_space": pre_tokenizer.get("add_prefix_space", True)})
    merges = _checked_merges(path, pairs, ids)
    _check_bytes(path, ids)
    return _Found("bpe", ids, options, added, {"merges": merges})


def _unigram_parts(path: Path, content: dict[str, Any], model: dict[str, Any], added: Added) -> _Found:
    pre_tokenizer = _part(path, content, "pre_tokenizer")
    steps = pre_tokenizer.get("pretokenizers")
    if not isinstance(steps, list) or [_type(step) for step in steps] != ["WhitespaceSplit", "Metaspace"]:
        raise InputError(f"{path}, pre_tokenizer: expected WhitespaceSplit, then Metaspace")
    before = steps[1].get("prepend_scheme", "always")
    expected = [
        ("pre_tokenizer.replacement", steps[1].get("replacement"), SPACE_MARK),
        ("pre_tokenizer.prepend_scheme", before if steps[1].get("add_prefix_space", True) else "never", "always"),
        ("model.byte_fallback", model.get("byte_fallback", False), False),
    ]
    _expect(path, expected)
    options, charsmap = _albert_steps(path, _part(path, content, "normalizer"))
    ids, scores = _checked_pieces(f"{path}, model.vocab", model.get("vocab"))
    _expect(path, [("model.unk_id", model.get("unk_id"), ids.get(Unigram.special_tokens.unk))])
    return _Found("unigram", ids, options, added, {"scores": scores, "charsmap": charsmap})


def _checked_pieces(place: str, scored: object) -> tuple[dict[str, int], list[float]]:
    """Ids and scores of a unigram vocabulary, which is to be a list of pieces, each with its score.

    Raises:
        InputError: it is none, a score is no finite number, or a piece stands there twice.
    """
    ids: dict[str, int] = {}
    scores: list[float] = []
    for entry in scored if isinstance(scored, list) else [scored]:
        match entry:
            case [str(piece), int(score) | float(score)] if not isinstance(score, bool):
                if not abs(score) <= sys.float_info.max:  # JSON has no number for others
                    raise InputError(f"{place}: piece {piece!r}: expected a finite score, found {score!r}")
                ids[piece] = len(scores)
                scores.append(float(score))
            case _:
                raise InputError(f"{place}: expected a list of pieces, each with its score")
    if len(ids) != len(scores):
        raise InputError(f"{place}: expected every piece once")
    return ids, scores


def _checked_charsmap(place: str, charsmap: bytes | None) -> bytes | None:
    """
    Raises:
        InputError: the library can't read the table of characters.
    """
    if charsmap is not None:
        try:
            normalizers.Precompiled(charsmap)
        except Exception as error:  # the library has no type of its own for it
            raise InputError(f"{place}: expected SentencePiece's table of characters, found a damaged one") from error
    return charsmap


def _albert_steps(path: Path, normalizer: dict[str, Any]) -> tuple[Options, bytes | None]:
    """The options and the table of characters that ALBERT's normaliser, step by step, stands for."""
    steps = normalizer.get("normalizers")
    steps = list(steps) if isinstance(steps, list) else [normalizer]
    quotes = [{"type": "Replace", "pattern": {"String": mark}, "content": '"'} for mark in ("``", "''")]
    # Old files end with one that makes several spaces one: without effect, as words are split at white space after it.
    spaces = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
    kinds = [_type(step) for step in steps if step != spaces][2:]
    if steps[:2] != quotes or kinds != [
        *(["NFKD", "StripAccents"] if "StripAccents" in kinds else []),
        *(["Lowercase"] if "Lowercase" in kinds else []),
        *(["Precompiled"] if "Precompiled" in kinds else []),
    ]:
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


def _checked_ids(path: Path, name: str, ids: object) -> dict[str, int]:
    if not isinstance(ids, dict) or not all(type(i) is int for i in ids.values()):
        raise InputError(f"{path}, {name}: expected an object of tokens and their ids")
    return ids


def _checked_merges(path: Path, pairs: list[Any], ids: dict[str, int]) -> list[tuple[str, str]]:
    """
    Raises:
        InputError: no pair, or one whose parts or whole are no tokens.
    """
    merges: list[tuple[str, str]] = []
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            raise InputError(f"{path}: expected merges of two pieces, found {pair!r}")
        missing = [token for token in (*pair, "".join(pair)) if token not in ids]
        if missing:
            raise InputError(f"{path}: merge {' '.join(pair)!r}: {missing[0]!r} is not in the vocabulary")
        merges.append((pair[0], pair[1]))
    return merges


def _check_bytes(path: Path, ids: dict[str, int]) -> None:
    """
    Raises:
        InputError: a byte is no token.
    """
    lacking = [byte for byte in BYTES if byte not in ids]
    if lacking:
        raise InputError(f"{path}: expected all 256 bytes in the vocabulary, missing: {' '.join(sorted(lacking)[:5])}")


def _part(path: Path, content: dict[str, Any], name: str) -> dict[str, Any]:
    part = content.get(name)
    if not isinstance(part, dict):
        raise InputError(f"{path}, {name}: expected an object")
    return part


# --- What lies beside it ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Beside:
    """What the files beside a vocabulary say."""

    options: Options = field(default_factory=dict)
    added: list[tuple[int, AddedToken]] = field(default_factory=list)  # with the ids that the file gives
    place: Path = Path()  # that file
    specials: list[AddedToken] = field(default_factory=list)  # without: their own in the vocabulary, or the next


def _read_beside(source: Path, found: _Found) -> _Beside:
    """In the order in which transformers looks: a config that lists the added tokens says all there is to say."""
    config_path, specials_path, added_path = (source.with_name(name) for name in (CONFIG, SPECIALS, ADDED))
    config = _read_object(config_path) if config_path.is_file() else {}
    options = _checked_options(config_path, found.kind, config)
    named = checked_class(config.get("tokenizer_class"), f"{config_path}, tokenizer_class", CLASSES[found.kind])
    if named in GENERIC_CLASSES and source.suffix == ".json":
        options = {}  # these classes go by that file alone
    if config.get("split_special_tokens"):
        raise InputError(f"{config_path}, split_special_tokens: expected false, found {config['split_special_tokens']}")
    specials = _special_tokens(config_path, config, found.special_tokens)
    if "added_tokens_decoder" in config:
        listed = config["added_tokens_decoder"]
        try:
            added = [(int(token_id), _added_token(entry)) for token_id, entry in listed.items()]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            expected = "expected an object of ids and tokens with their flags"
            raise InputError(f"{config_path}, added_tokens_decoder: {expected}") from error
        return _Beside(options, added, config_path, specials)
    if specials_path.is_file():
        specials += _special_tokens(specials_path, _read_object(specials_path), found.special_tokens)
    ids = _read_object(added_path) if added_path.is_file() else {}
    if not all(type(token_id) is int for token_id in ids.values()):
        raise InputError(f"{added_path}: expected an object of tokens and their ids")
    known = {*found.special_tokens, *(token.content for token in specials)}
    added = [(token_id, AddedToken(token, special=token in known)) for token, token_id in ids.items()]
    return _Beside(options, added, added_path, specials)


def checked_class(name: object, place: str, classes: tuple[str, ...] = ALL_CLASSES) -> str | None:
    """The class without "Fast" at its end, which once told two implementations apart; None where none is named.

    Raises:
        InputError: none of `classes` or of the generic ones; the message begins with `place`.
    """
    if name is None:
        return None
    known = (*classes, *GENERIC_CLASSES)
    if isinstance(name, str):
        for spelled in (name, name.removesuffix("Fast")):
            if spelled in known:
                return spelled
    raise InputError(f"{place}: expected one of {', '.join(known)}, found {name!r}")


def _special_tokens(path: Path, found: dict[str, Any], own: SpecialTokens) -> list[AddedToken]:
    """The special tokens that a config or map names. Those of a kind are the five that they are everywhere.

    Raises:
        InputError: another token in the place of one of the five, one for a further purpose, not a token at all.
    """
    specials: list[AddedToken] = []
    for name, entry in found.items():
        further = name in FURTHER
        if entry is None or not (further or name in NAMED or (name.endswith("_token") and not isinstance(entry, bool))):
            continue
        entries = entry.values() if further and isinstance(entry, dict) else entry if further else [entry]
        try:
            if further and isinstance(entry, str):  # whose letters would be tokens
                raise TypeError
            tokens = [_added_token(each, special=True) for each in entries]
        except (KeyError, TypeError, ValueError) as error:
            expected = "tokens" if further else "a token"
            raise InputError(f"{path}, {name}: expected {expected}, found {entry!r}") from error
        wanted = own[NAMED.index(name)] if name in NAMED else None
        if not further and tokens[0].content not in ([wanted] if wanted else own):
            expected = repr(wanted) if wanted else f"none beside the five {' '.join(own)}"
            raise InputError(f"{path}, {name}: expected {expected}, found {tokens[0].content!r}")
        specials += [token for token, each in zip(tokens, entries, strict=True) if further or isinstance(each, dict)]
    return specials


def _added_token(entry: dict[str, Any] | str, **flags: bool) -> AddedToken:
    """A token as transformers writes it: with flags or without."""
    if isinstance(entry, str):
        return AddedToken(entry, **flags)
    return AddedToken(entry["content"], **({name: bool(entry[name]) for name in FLAGS if name in entry} | flags))


# --- Their ids -------------------------------------------------------------------------------------------------------


def _checked_added(source: Path, found: _Found, beside: _Beside) -> list[tuple[int, AddedToken]]:
    """The added tokens of all files with their ids; where a token has flags in several, those of `source` come first.

    Raises:
        InputError: ids with gaps or repetitions, those of added tokens not after the model's own, a special token
            missing, a token that spans lines or is not valid Unicode.
    """
    ids = dict(found.ids)
    if sorted(ids.values()) != list(range(len(ids))):
        raise InputError(f"{source}: expected ids from 0 on, without a gap or a repetition")
    added: dict[str, tuple[int, AddedToken]] = {}
    for place, tokens in ((source, found.added), (beside.place, beside.added)):
        for token_id, token in sorted(tokens, key=lambda pair: pair[0]):
            expected = ids.setdefault(token.content, len(ids))
            if token_id != expected:
                raise InputError(f"{place}: added token {token.content!r} has the id {token_id}, expected {expected}")
            added.setdefault(token.content, (token_id, token))
    for token in beside.specials:
        if token.content in ids or token.content not in found.special_tokens:
            added.setdefault(token.content, (ids.setdefault(token.content, len(ids)), token))
    _check_tokens(source, ids, found)
    return list(added.values())


def _check_tokens(source: Path, ids: Iterable[str], found: _Found) -> None:
    unk = found.special_tokens.unk
    missing = [token for token in found.special_tokens if token not in ids]
    if missing or unk not in found.ids:
        raise InputError(
            f"{source}: expected the special tokens in the vocabulary, missing: {' '.join(missing or [unk])}"
        )
    broken = [token for token in ids if LONE_SURROGATE.search(token)]
    if broken:
        raise InputError(f"{source}: token {broken[0]!r}: expected Unicode text, found a lone surrogate")
    spread = [token for token in ids if "\n" in token]
    if spread and found.kind == "wordpiece":
        raise InputError(f"{source}: token {spread[0]!r} spans lines, which vocab.txt cannot hold")
