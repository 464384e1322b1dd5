"""The files that a vocabulary stands in: `tokenizer.json` or `vocab.txt`, and what lies beside them.

Beside them transformers keeps options and added tokens, in files that changed with its versions:
`tokenizer_config.json`, `special_tokens_map.json`, `added_tokens.json`. What changes ids there is heeded or refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from minibert.errors import InputError
from minibert.vocabulary import CLS, CONTINUATION, MASK, PAD, SEP, SPECIAL_TOKENS, UNK, Normalization, Vocabulary

CONFIG, SPECIALS, ADDED = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"

NAMED = {"pad_token": PAD, "unk_token": UNK, "cls_token": CLS, "sep_token": SEP, "mask_token": MASK}
FURTHER = ("additional_special_tokens", "extra_special_tokens")  # the same under an old name and a new one
FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")

# Classes of transformers that do what we do; of the generic ones `tokenizer.json` says everything.
BERT_CLASSES = ("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer")
GENERIC_CLASSES = ("PreTrainedTokenizerFast", "TokenizersBackend")

Options = dict[str, bool | None]  # of the normaliser, under the names that they have in tokenizer_config.json


def read_vocabulary(path: Path) -> Vocabulary:
    """Read a directory or a file; what may stand there, and what is refused, is written at `Tokenizer.load`."""
    source = _find_source(path)
    read = _read_tokenizer_json if source.suffix == ".json" else _read_vocab_txt
    vocabulary, options = read(source)
    beside = _read_beside(source)
    options |= beside.options
    lowercase, accents = bool(options["do_lower_case"]), options.get("strip_accents")
    normalization = Normalization(
        lowercase=lowercase,
        strip_accents=lowercase if accents is None else accents,
        chinese_chars=bool(options.get("tokenize_chinese_chars", True)),
        clean_text=bool(options.get("clean_text", True)),
    )
    return replace(vocabulary, added=_checked_added(source, vocabulary, beside), normalization=normalization)


def _find_source(path: Path) -> Path:
    if path.is_file():
        return path
    for name in ("tokenizer.json", "vocab.txt"):
        if (path / name).is_file():
            return path / name
    expected = "expected tokenizer.json or vocab.txt in it" if path.is_dir() else "no such file or directory"
    raise InputError(f"{path}: {expected}")


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


def _checked_options(path: Path, found: dict[str, Any]) -> Options:
    """The normaliser's options among `found`, under the names that they have in tokenizer_config.json."""
    names = ("do_lower_case", "strip_accents", "tokenize_chinese_chars", "clean_text")
    options = {name: found[name] for name in names if name in found}
    for name, value in options.items():
        if not isinstance(value, bool) and not (value is None and name == "strip_accents"):
            raise InputError(f"{path}, {name}: expected true or false, found {value!r}")
    return options


# --- The vocabulary itself -------------------------------------------------------------------------------------------


def _read_vocab_txt(path: Path) -> tuple[Vocabulary, Options]:
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
    return Vocabulary(ids), {"do_lower_case": not cased}


def _read_tokenizer_json(path: Path) -> tuple[Vocabulary, Options]:
    """The parts of a `tokenizers` file that decide ids. Each is checked: the library's own errors name no field."""
    content = _read_object(path)
    model, normalizer, pre_tokenizer = (_part(path, content, n) for n in ("model", "normalizer", "pre_tokenizer"))
    expected = [
        # Files of old versions have no type; "merges" tells those of byte-pair encoding.
        ("model.type", model.get("type", "BPE" if "merges" in model else "WordPiece"), "WordPiece"),
        ("model.unk_token", model.get("unk_token"), UNK),
        ("model.continuing_subword_prefix", model.get("continuing_subword_prefix"), CONTINUATION),
        ("normalizer.type", normalizer.get("type"), "BertNormalizer"),
        ("pre_tokenizer.type", pre_tokenizer.get("type"), "BertPreTokenizer"),
    ]
    for name, found, wanted in expected:
        if found != wanted:
            raise InputError(f"{path}, {name}: expected {wanted!r}, found {found!r}")
    ids, max_word_chars = model.get("vocab"), model.get("max_input_chars_per_word")
    if not isinstance(ids, dict) or not all(type(i) is int for i in ids.values()):
        raise InputError(f"{path}, model.vocab: expected an object of tokens and their ids")
    if type(max_word_chars) is not int or max_word_chars < 1:
        raise InputError(f"{path}, model.max_input_chars_per_word: expected 1 or more, found {max_word_chars!r}")
    try:
        added = [(int(entry["id"]), _added_token(entry)) for entry in content["added_tokens"]]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}, added_tokens: expected a list of tokens, each with its id and flags") from error
    names = {"lowercase": "do_lower_case", "handle_chinese_chars": "tokenize_chinese_chars"}
    options = _checked_options(path, {names.get(name, name): value for name, value in normalizer.items()})
    return Vocabulary(ids, added=added, max_word_chars=max_word_chars), {"do_lower_case": True} | options


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


def _read_beside(source: Path) -> _Beside:
    """In the order in which transformers looks: a config that lists the added tokens says all there is to say."""
    config_path, specials_path, added_path = (source.with_name(name) for name in (CONFIG, SPECIALS, ADDED))
    config = _read_object(config_path) if config_path.is_file() else {}
    options = _checked_options(config_path, config)
    named = checked_class(config.get("tokenizer_class"), f"{config_path}, tokenizer_class")
    if named in GENERIC_CLASSES and source.suffix == ".json":
        options = {}  # these classes go by that file alone
    if config.get("split_special_tokens"):
        raise InputError(f"{config_path}, split_special_tokens: expected false, found {config['split_special_tokens']}")
    specials = _special_tokens(config_path, config)
    if "added_tokens_decoder" in config:
        listed = config["added_tokens_decoder"]
        try:
            added = [(int(token_id), _added_token(entry)) for token_id, entry in listed.items()]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            expected = "expected an object of ids and tokens with their flags"
            raise InputError(f"{config_path}, added_tokens_decoder: {expected}") from error
        return _Beside(options, added, config_path, specials)
    if specials_path.is_file():
        specials += _special_tokens(specials_path, _read_object(specials_path))
    ids = _read_object(added_path) if added_path.is_file() else {}
    if not all(type(token_id) is int for token_id in ids.values()):
        raise InputError(f"{added_path}: expected an object of tokens and their ids")
    known = {*SPECIAL_TOKENS, *(token.content for token in specials)}
    added = [(token_id, AddedToken(token, special=token in known)) for token, token_id in ids.items()]
    return _Beside(options, added, added_path, specials)


def checked_class(name: object, place: str) -> str | None:
    """The class without "Fast" at its end, which once told two implementations apart; None where none is named.

    Raises:
        InputError: a class that does something else than we do; the message begins with `place`.
    """
    if name is None:
        return None
    known = (*BERT_CLASSES, *GENERIC_CLASSES)
    if isinstance(name, str):
        for spelled in (name, name.removesuffix("Fast")):
            if spelled in known:
                return spelled
    raise InputError(f"{place}: expected one of {', '.join(known)}, found {name!r}")


def _special_tokens(path: Path, found: dict[str, Any]) -> list[AddedToken]:
    """The special tokens that a config or map names. BERT's own are the five that they are everywhere.

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
        if not further and tokens[0].content not in ([NAMED[name]] if name in NAMED else SPECIAL_TOKENS):
            expected = repr(NAMED[name]) if name in NAMED else "none beside BERT's five"
            raise InputError(f"{path}, {name}: expected {expected}, found {tokens[0].content!r}")
        specials += [token for token, each in zip(tokens, entries, strict=True) if further or isinstance(each, dict)]
    return specials


def _added_token(entry: dict[str, Any] | str, **flags: bool) -> AddedToken:
    """A token as transformers writes it: with flags or without."""
    if isinstance(entry, str):
        return AddedToken(entry, **flags)
    return AddedToken(entry["content"], **({name: bool(entry[name]) for name in FLAGS if name in entry} | flags))


# --- Their ids -------------------------------------------------------------------------------------------------------


def _checked_added(source: Path, vocabulary: Vocabulary, beside: _Beside) -> list[tuple[int, AddedToken]]:
    """The added tokens of all files with their ids; where a token has flags in several, those of `source` come first.

    Raises:
        InputError: ids with gaps or repetitions, those of added tokens not after the model's own, a special token
            missing, a token that spans lines.
    """
    ids = dict(vocabulary.ids)
    if sorted(ids.values()) != list(range(len(ids))):
        raise InputError(f"{source}: expected ids from 0 on, without a gap or a repetition")
    added: dict[str, tuple[int, AddedToken]] = {}
    for place, tokens in ((source, vocabulary.added), (beside.place, beside.added)):
        for token_id, token in sorted(tokens, key=lambda pair: pair[0]):
            expected = ids.setdefault(token.content, len(ids))
            if token_id != expected:
                raise InputError(f"{place}: added token {token.content!r} has the id {token_id}, expected {expected}")
            added.setdefault(token.content, (token_id, token))
    for token in beside.specials:
        if token.content in ids or token.content not in SPECIAL_TOKENS:
            added.setdefault(token.content, (ids.setdefault(token.content, len(ids)), token))
    _check_tokens(source, ids, vocabulary)
    return list(added.values())


def _check_tokens(source: Path, ids: Iterable[str], vocabulary: Vocabulary) -> None:
    missing = [token for token in SPECIAL_TOKENS if token not in ids]
    if missing or UNK not in vocabulary.ids:
        raise InputError(
            f"{source}: expected the special tokens in the vocabulary, missing: {' '.join(missing or [UNK])}"
        )
    spread = [token for token in ids if "\n" in token]
    if spread:
        raise InputError(f"{source}: token {spread[0]!r} spans lines, which vocab.txt cannot hold")
