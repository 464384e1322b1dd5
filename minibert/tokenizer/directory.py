"""Reading a vocabulary's directory: the file that holds the vocabulary (`source.py`), and the files next to it.

transformers keeps options and added tokens in these other files, which differ from version to version:
`tokenizer_config.json`, `special_tokens_map.json`, `added_tokens.json`. Whatever changes ids is applied or refused.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import AddedToken

from minibert.errors import InputError
from minibert.files.text import LONE_SURROGATE, check_file
from minibert.tokenizer.source import (
    MERGES,
    OPTIONS,
    Found,
    Options,
    added_token,
    checked_options,
    read_object,
    read_source,
)
from minibert.tokenizer.vocabulary import (
    AS_WRITTEN,
    ByteLevelBPE,
    Kind,
    Normalization,
    SpecialTokens,
    Unigram,
    Vocabulary,
    WordPiece,
)

CONFIG, SPECIALS, ADDED = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"
# In search order.
SOURCES = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model")
ALL_FILES = (*SOURCES, MERGES, CONFIG, SPECIALS, ADDED)

NAMED = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")  # as in SpecialTokens
FURTHER = ("additional_special_tokens", "extra_special_tokens")  # the old and the new name of one field

# The transformers classes that tokenize as we do. With a generic class, `tokenizer.json` alone decides.
CLASSES: dict[Kind, tuple[str, ...]] = {
    "wordpiece": ("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer"),
    "bpe": ("RobertaTokenizer", "LongformerTokenizer"),
    "unigram": ("AlbertTokenizer",),
}
ALL_CLASSES = tuple(name for names in CLASSES.values() for name in names)
GENERIC_CLASSES = ("PreTrainedTokenizerFast", "TokenizersBackend")


def read_vocabulary(path: Path) -> Vocabulary:
    """Read the vocabulary in a directory or file; `Tokenizer.load` says what is accepted and what is refused."""
    source = _find_source(path)
    found = read_source(source)
    beside = _read_beside(source, found)
    if _counts_blank_line(found, beside):
        found = replace(found, ids=found.ids | {"": len(found.ids)})
    options = OPTIONS[found.kind] | found.options | beside.options
    added = _checked_added(source, found, beside)
    if found.kind == "bpe":
        _check_is_true(source, options, "trim_offsets")
        with_space = bool(options["add_prefix_space"])
        return ByteLevelBPE(ids=found.ids, added=added, add_prefix_space=with_space, **found.of_kind)
    lowercase = bool(options["do_lower_case"])
    if found.kind == "unigram":
        _check_is_true(source, options, "add_prefix_space")
        normalization = replace(AS_WRITTEN, lowercase=lowercase, strip_accents=not options["keep_accents"])
        return Unigram(ids=found.ids, normalization=normalization, added=added, **found.of_kind)
    accents = options["strip_accents"]
    chinese_chars, clean_text = bool(options["tokenize_chinese_chars"]), bool(options["clean_text"])
    normalization = Normalization(lowercase, lowercase if accents is None else accents, chinese_chars, clean_text)
    return WordPiece(ids=found.ids, normalization=normalization, added=added, **found.of_kind)


def _check_is_true(source: Path, options: Options, name: str) -> None:
    if options[name] is not True:
        raise InputError(f"{source}, {name}: expected true, found {options[name]!r}")


def _find_source(path: Path) -> Path:
    if path.exists() and not path.is_dir():
        check_file(path)
        return path
    for name in SOURCES:
        if (path / name).is_file():
            return path / name
    expected = f"expected {', '.join(SOURCES[:-1])} or {SOURCES[-1]} in it"
    raise InputError(f"{path}: {expected if path.is_dir() else 'no such file or directory'}")


# --- The files next to it --------------------------------------------------------------------------------------------


class _Beside(NamedTuple):
    """What the files next to a vocabulary say."""

    options: Options
    added: list[tuple[int, AddedToken]]  # with the ids that the file at `place` gives them
    place: Path
    specials: list[AddedToken]  # listed without ids: they have one in the vocabulary or get the next free one


def _read_beside(source: Path, found: Found) -> _Beside:
    """Read the files in transformers' order: if the config lists the added tokens, the other files are not read."""
    config_path, specials_path, added_path = (source.with_name(name) for name in (CONFIG, SPECIALS, ADDED))
    config = read_object(config_path) if config_path.is_file() else {}
    options = checked_options(config_path, found.kind, config)
    named = checked_class(config.get("tokenizer_class"), f"{config_path}, tokenizer_class", CLASSES[found.kind])
    if named in GENERIC_CLASSES and source.suffix == ".json":
        options = {}  # these classes take their options from tokenizer.json alone
        if not found.is_run_as_it_stands:
            raise InputError(
                f"{source}, pre_tokenizer: a {named} would turn a space at the end of a text into a word; expected "
                f"WhitespaceSplit before Metaspace, or tokenizer_class {CLASSES[found.kind][0]} in {CONFIG}"
            )
    if config.get("split_special_tokens"):
        raise InputError(f"{config_path}, split_special_tokens: expected false, found {config['split_special_tokens']}")
    specials = _special_tokens(config_path, config, found.special_tokens)
    if "added_tokens_decoder" in config:
        try:
            added = [(int(token_id), added_token(entry)) for token_id, entry in config["added_tokens_decoder"].items()]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            expected = "expected an object that maps each id to a token and its flags"
            raise InputError(f"{config_path}, added_tokens_decoder: {expected}") from error
        return _Beside(options, added, config_path, specials)
    if specials_path.is_file():
        specials += _special_tokens(specials_path, read_object(specials_path), found.special_tokens)
    ids = read_object(added_path) if added_path.is_file() else {}
    if not all(type(token_id) is int for token_id in ids.values()):
        raise InputError(f"{added_path}: expected an object that maps each token to its id")
    flagged = {token.content: token for token in reversed(specials)}
    own = found.special_tokens
    added = [(ids[token], flagged.get(token) or AddedToken(token, special=token in own)) for token in ids]
    return _Beside(options, added, added_path, specials)


def checked_class(name: object, place: str, classes: tuple[str, ...] = ALL_CLASSES) -> str | None:
    """The class name without a final "Fast", which once distinguished two implementations; None if `name` is None.

    Raises InputError, its message beginning with `place`, if the class is neither in `classes` nor generic.
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
    """Return the special tokens that a config or map names; the kind's own five, `own`, may not be changed.

    Raises InputError if an entry is not a token, replaces one of the five, or adds a token for another purpose.
    """
    specials: list[AddedToken] = []
    for name, entry in found.items():
        further = name in FURTHER
        if entry is None or not (further or name in NAMED or (name.endswith("_token") and not isinstance(entry, bool))):
            continue
        entries = entry.values() if further and isinstance(entry, dict) else entry if further else [entry]
        try:
            if further and isinstance(entry, str):  # iterating over it would make each letter a token
                raise TypeError
            tokens = [added_token(each, special=True) for each in entries]
        except (KeyError, TypeError, ValueError) as error:
            expected = "tokens" if further else "a token"
            raise InputError(f"{path}, {name}: expected {expected}, found {entry!r}") from error
        wanted = own[NAMED.index(name)] if name in NAMED else None
        if not further and tokens[0].content not in ([wanted] if wanted else own):
            expected = repr(wanted) if wanted else f"one of {', '.join(own)}"
            raise InputError(f"{path}, {name}: expected {expected}, found {tokens[0].content!r}")
        specials += [token for token, each in zip(tokens, entries, strict=True) if further or isinstance(each, dict)]
    return specials


# --- Ids -------------------------------------------------------------------------------------------------------------


def _counts_blank_line(found: Found, beside: _Beside) -> bool:
    """Whether the ids of the added tokens leave one free for the blank line at the end of a vocab.txt.

    The slow tokenizers of transformers 4 counted that line as a token, and numbered the added tokens after it.
    """
    ids = [token_id for token_id, token in beside.added if token.content not in found.ids]
    return found.ends_blank and min(ids, default=None) == len(found.ids) + 1


def _checked_added(source: Path, found: Found, beside: _Beside) -> list[tuple[int, AddedToken]]:
    """Return all files' added tokens with their ids; if several files give a token flags, those in `source` win.

    Raises InputError if ids have gaps or repetitions, added tokens don't follow the model's own, a special token is
    missing, or a token spans lines or is not valid Unicode.
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
    unk = found.special_tokens.unk
    missing = [token for token in found.special_tokens if token not in ids]
    if missing or unk not in found.ids:
        raise InputError(
            f"{source}: expected the special tokens in the vocabulary, missing: {' '.join(missing or [unk])}"
        )
    if broken := [token for token in ids if LONE_SURROGATE.search(token)]:
        raise InputError(f"{source}: token {broken[0]!r}: expected Unicode text, found a lone surrogate")
    spread = [token for token in ids if "\n" in token]
    if spread and found.kind == "wordpiece":
        raise InputError(f"{source}: token {spread[0]!r} contains a line feed, which vocab.txt cannot hold")
    return list(added.values())
