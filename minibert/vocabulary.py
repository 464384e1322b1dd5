"""Where a WordPiece vocabulary comes from: a file, or text that it is learned from.

`tokenizer.py` makes a tokenizer of either. Nothing here needs torch.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, models, normalizers, pre_tokenizers, trainers

from minibert.errors import InputError

PAD, UNK, CLS, SEP, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL_TOKENS = (PAD, UNK, CLS, SEP, MASK)
CONTINUATION = "##"  # the prefix of a piece that goes on with a word
MAX_WORD_CHARS = 100  # a longer word is [UNK] as a whole, as in the reference


LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # half a character: in Python strings, never in UTF-8


@dataclass(frozen=True)
class Normalization:
    """What happens to characters before a text is split into words (the options of BERT's normaliser)."""

    lowercase: bool = True
    strip_accents: bool = True  # é -> e
    chinese_chars: bool = True  # every CJK ideograph is a word of its own
    clean_text: bool = True  # control characters go, every kind of white space becomes a space


@dataclass(frozen=True)
class Vocabulary:
    """All that makes a tokenizer."""

    ids: dict[str, int]  # token -> id
    normalization: Normalization = field(default_factory=Normalization)
    added: list[tuple[int, AddedToken]] = field(default_factory=list)  # id, token: found before words are split
    max_word_chars: int = MAX_WORD_CHARS


def bert_normalizer(normalization: Normalization) -> normalizers.Normalizer:
    """The library's normaliser with these options."""
    return normalizers.BertNormalizer(
        clean_text=normalization.clean_text,
        handle_chinese_chars=normalization.chinese_chars,
        strip_accents=normalization.strip_accents,
        lowercase=normalization.lowercase,
    )


def unusable_text(texts: Sequence[str], error: TypeError) -> InputError:
    """The library says only "must be str" of a string that it cannot take as UTF-8; say which one, and where."""
    for number, text in enumerate(texts, 1):
        if not isinstance(text, str):
            return InputError(f"text {number}: expected a string, found {type(text).__name__}")
        lone = LONE_SURROGATE.search(text)
        if lone:
            return InputError(f"text {number}, character {lone.start()}: expected Unicode text, found a lone surrogate")
    return InputError(f"texts: {error}")


# --- Reading vocabulary files ----------------------------------------------------------------------------------------


def read_vocabulary(path: Path) -> Vocabulary:
    """Read a directory or a file; what may stand there, and what is refused, is written at `Tokenizer.load`."""
    source = _find_source(path)
    read = _read_tokenizer_json if source.suffix == ".json" else _read_vocab_txt
    vocabulary, options = read(source)
    config = source.with_name("tokenizer_config.json")
    if config.is_file():
        options |= _checked_options(config, _read_object(config))
    _check_ids(source, vocabulary)
    lowercase, accents = bool(options["do_lower_case"]), options.get("strip_accents")
    normalization = Normalization(
        lowercase=lowercase,
        strip_accents=lowercase if accents is None else accents,
        chinese_chars=bool(options.get("tokenize_chinese_chars", True)),
        clean_text=bool(options.get("clean_text", True)),
    )
    return replace(vocabulary, normalization=normalization)


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
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a JSON object")
    return content


def _checked_options(path: Path, found: dict[str, Any]) -> dict[str, bool | None]:
    """The normaliser's options among `found`, under the names that they have in tokenizer_config.json."""
    names = ("do_lower_case", "strip_accents", "tokenize_chinese_chars", "clean_text")
    options = {name: found[name] for name in names if name in found}
    for name, value in options.items():
        if not isinstance(value, bool) and not (value is None and name == "strip_accents"):
            raise InputError(f"{path}, {name}: expected true or false, found {value!r}")
    return options


def _read_vocab_txt(path: Path) -> tuple[Vocabulary, dict[str, bool | None]]:
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


def _read_tokenizer_json(path: Path) -> tuple[Vocabulary, dict[str, bool | None]]:
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
        added = [_added_token(entry) for entry in content["added_tokens"]]
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


def _added_token(entry: dict[str, Any]) -> tuple[int, AddedToken]:
    flags = {name: bool(entry[name]) for name in ("single_word", "lstrip", "rstrip", "normalized", "special")}
    return int(entry["id"]), AddedToken(entry["content"], **flags)


def _check_ids(path: Path, vocabulary: Vocabulary) -> None:
    """Every special token there; ids from 0 on, each taken once, those of added tokens after the model's own."""
    ids = dict(vocabulary.ids)
    in_order = sorted(ids.values()) == list(range(len(ids)))
    for token_id, token in sorted(vocabulary.added, key=lambda pair: pair[0]):
        in_order = in_order and ids.setdefault(token.content, len(ids)) == token_id
    if not in_order:
        raise InputError(f"{path}: expected ids from 0 on, without a gap or a repetition, added tokens last")
    missing = [token for token in SPECIAL_TOKENS if token not in ids]
    if missing or UNK not in vocabulary.ids:
        raise InputError(
            f"{path}: expected the special tokens in the vocabulary, missing: {' '.join(missing or [UNK])}"
        )
    spread = [token for token in ids if "\n" in token]
    if spread:
        raise InputError(f"{path}: token {spread[0]!r} spans lines, which vocab.txt cannot hold")


# --- Learning a vocabulary -------------------------------------------------------------------------------------------

CHUNKS_AT_ONCE = 50_000  # different white-space separated chunks held before they are split into words
ALPHABET_ALWAYS = 1_000  # so many characters, the most frequent, are kept whatever they cover
ALPHABET_COVERAGE = 0.9995  # further ones (Chinese) until so much of the text is covered
WORDS_TO_LIBRARY = 20_000_000  # occurrences handed to the library's trainer


def learn_vocabulary(texts: Iterable[str], normalization: Normalization, vocab_size: int, max_words: int) -> Vocabulary:
    """Learn `vocab_size` tokens, or fewer where the texts give no more; see `Tokenizer.train`."""
    if vocab_size <= len(SPECIAL_TOKENS):
        raise InputError(f"vocab_size {vocab_size}: expected more than the {len(SPECIAL_TOKENS)} special tokens")
    if max_words < 2:
        raise InputError(f"max_words {max_words}: expected at least 2")
    counts = _count_words(texts, normalization, max_words)
    if not counts:
        raise InputError("texts to learn a vocabulary from: expected words, found none")
    alphabet = _choose_alphabet(counts, vocab_size - len(SPECIAL_TOKENS))
    pieces = _learn_pieces(counts, [*SPECIAL_TOKENS, *alphabet], vocab_size)
    return Vocabulary({piece: i for i, piece in enumerate(pieces)}, normalization)


def _count_words(texts: Iterable[str], normalization: Normalization, max_words: int) -> Counter[str]:
    """How often each word stands in the texts, in at most about `max_words` words.

    Chunks between spaces are counted first, and each different one is normalised and split into words once: several
    times faster on English, and the same result, since neither step looks across a space.
    """
    normalizer, splitter = bert_normalizer(normalization), pre_tokenizers.BertPreTokenizer()
    counts: Counter[str] = Counter()
    for chunks in _count_chunks(texts):
        for chunk, count in chunks.items():
            for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(chunk)):
                if len(word) <= MAX_WORD_CHARS:
                    counts[word] += count
        if len(counts) > max_words:
            counts = Counter(dict(_by_frequency(counts)[: max_words // 2]))
    return counts


def _count_chunks(texts: Iterable[str]) -> Iterator[Counter[str]]:
    chunks: Counter[str] = Counter()
    for text in texts:
        if LONE_SURROGATE.search(text):
            raise unusable_text([text], TypeError())
        chunks.update(text.replace("\n", " ").replace("\t", " ").split(" "))
        if len(chunks) >= CHUNKS_AT_ONCE:
            yield chunks
            chunks = Counter()
    yield chunks


def _by_frequency(counts: Counter[str]) -> list[tuple[str, int]]:
    """Most frequent first, equals in the order of their characters: an order that no hash decides."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _choose_alphabet(counts: Counter[str], room: int) -> list[str]:
    """Single-character pieces, at most `room`: c for each character kept, ##c where it also stands inside words.

    Kept are the most frequent characters: the first 1,000 always, then more until 99.95 % of the text is covered,
    which a Chinese corpus needs 3,000 to 5,000 for. A word with any other character is [UNK].
    """
    characters: Counter[str] = Counter()
    inside: set[str] = set()
    for word, count in counts.items():
        for character in word:
            characters[character] += count
        inside.update(word[1:])
    kept: list[str] = []
    covered, enough = 0, ALPHABET_COVERAGE * characters.total()
    for character, count in _by_frequency(characters):
        room -= 2 if character in inside else 1
        if room < 0 or (len(kept) >= ALPHABET_ALWAYS and covered >= enough):
            break
        kept.append(character)
        covered += count
    return sorted(kept) + sorted(CONTINUATION + character for character in kept if character in inside)


def _learn_pieces(counts: Counter[str], given: list[str], vocab_size: int) -> list[str]:
    """`given`, then the pieces that the library's trainer merges, in the order of their making.

    The trainer merges the most frequent pair of pieces and, among equals, the pair of lowest ids. Left alone it
    numbers the pieces ##c in the order of a randomly seeded hash map, so that ties fall differently in every
    process, and so does even the set of pieces. Given all single-character pieces as "special" tokens, which it
    numbers first and in order, it learns the same pieces in the same order every time; the tests hold it to that.

    It counts pairs in 32 bits and takes words only one by one: beyond 20 million occurrences all counts are
    divided by the same number, and words too rare to keep one occurrence teach nothing.
    """
    shrink = max(1.0, counts.total() / WORDS_TO_LIBRARY)
    alphabet = {piece for piece in given if len(piece) == 1}

    def occurrences() -> Iterator[str]:
        for word, count in counts.items():
            if alphabet.issuperset(word):
                remaining = int(count / shrink)
                while remaining > 0:
                    yield " ".join([word] * min(remaining, 1_000))
                    remaining -= 1_000

    library_tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token=UNK))
    library_tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordPieceTrainer(vocab_size=vocab_size, special_tokens=given, show_progress=False)
    library_tokenizer.train_from_iterator(occurrences(), trainer)
    vocab = library_tokenizer.get_vocab()
    return sorted(vocab, key=lambda piece: vocab[piece])
