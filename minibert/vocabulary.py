"""What a WordPiece vocabulary is, and how one is learned from text.

`vocabulary_files.py` reads one from files; `tokenizer.py` makes a tokenizer of either. Nothing here needs torch.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

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
