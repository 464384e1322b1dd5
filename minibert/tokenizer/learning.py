"""Vocabularies learned from text, of all three kinds: the same text gives the same vocabulary in every process.

Words are counted first, in bounded memory; then the library's trainers, which alone would give other ids in every
process, are handed the words in such a way that they give one result. Nothing here needs torch.
"""

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, trainers

from minibert.errors import InputError
from minibert.files.text import LONE_SURROGATE
from minibert.tokenizer.vocabulary import (
    AS_WRITTEN,
    BYTES,
    CONTINUATION,
    MAX_WORD_CHARS,
    SPACE_MARK,
    ByteLevelBPE,
    Kind,
    Normalization,
    Unigram,
    Vocabulary,
    WordPiece,
    albert_normalizer,
    albert_words,
    bert_normalizer,
    unusable_text,
)

CHUNKS_AT_ONCE = 50_000  # different white-space separated chunks held before they are split into words
LONGEST_CHUNK = 10_000  # characters: to split one into words takes several hundred bytes for each
ALPHABET_ALWAYS = 1_000  # so many characters, the most frequent, are kept whatever they cover
ALPHABET_COVERAGE = 0.9995  # further ones (Chinese) until so much of the text is covered
WORDS_TO_LIBRARY = 20_000_000  # occurrences handed to the library's trainer
SCORE_DECIMALS = 6  # of a log-probability
UNSCORED_STEP = 1e-4  # of the library's unigram trainer


def normalization_for(
    kind: Kind, lowercase: bool | None, strip_accents: bool | None, chinese_chars: bool | None
) -> Normalization:
    """The options of `Tokenizer.train`, where None is what the kind does by itself. Raises InputError, as that."""
    if kind == "bpe" and (lowercase or strip_accents or chinese_chars):
        raise InputError("byte-level BPE keeps the text as it is: no lowercase, strip_accents or chinese_chars")
    if kind == "unigram" and chinese_chars:
        raise InputError("chinese_chars: only a WordPiece vocabulary makes each ideograph a word")
    if kind == "bpe":
        return AS_WRITTEN
    lowercase = lowercase is not False
    strip_accents = lowercase if strip_accents is None else strip_accents
    if kind == "unigram":
        return replace(AS_WRITTEN, lowercase=lowercase, strip_accents=strip_accents)
    return Normalization(lowercase, strip_accents, chinese_chars is not False)


def learn_vocabulary(
    texts: Iterable[str], kind: Kind, normalization: Normalization, vocab_size: int, max_words: int
) -> Vocabulary:
    """Learn `vocab_size` tokens, or fewer where the texts give no more; see `Tokenizer.train`."""
    if max_words < 2:
        raise InputError(f"max_words {max_words}: expected at least 2")
    learn = {"wordpiece": _learn_wordpiece, "bpe": _learn_bpe, "unigram": _learn_unigram}[kind]
    return learn(texts, normalization, vocab_size, max_words)


def _learn_wordpiece(texts: Iterable[str], normalization: Normalization, vocab_size: int, max_words: int) -> WordPiece:
    special = list(WordPiece.special_tokens)
    _check_room(vocab_size, len(special), "the 5 special tokens")
    counts = _count_words(texts, max_words, bert_normalizer(normalization), pre_tokenizers.BertPreTokenizer())
    given = [*special, *_choose_alphabet(counts, vocab_size - len(special), inside_prefix=CONTINUATION)]
    trainer = trainers.WordPieceTrainer(vocab_size=vocab_size, special_tokens=given, show_progress=False)
    learned = _train(models.WordPiece(unk_token=WordPiece.special_tokens.unk), trainer, counts, given)
    return WordPiece(ids=learned["vocab"], normalization=normalization)


def _learn_bpe(texts: Iterable[str], normalization: Normalization, vocab_size: int, max_words: int) -> ByteLevelBPE:
    pad, unk, cls, sep, mask = ByteLevelBPE.special_tokens
    special = [cls, pad, sep, unk, mask]  # fairseq's order: RoBERTa's positions begin behind the id of <pad>
    _check_room(vocab_size, len(special) + len(BYTES), "the 5 special tokens and the 256 bytes")
    counts = _count_words(texts, max_words, None, pre_tokenizers.ByteLevel(add_prefix_space=False))
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=special, initial_alphabet=BYTES, show_progress=False
    )
    learned = _train(models.BPE(), trainer, counts, BYTES)
    merges = [(left, right) for left, right in learned["merges"]]
    return ByteLevelBPE(ids=learned["vocab"], normalization=normalization, merges=merges)


def _learn_unigram(texts: Iterable[str], normalization: Normalization, vocab_size: int, max_words: int) -> Unigram:
    """Special tokens, then the pieces by their probability.

    The trainer takes for candidates only what is followed by different characters in different places, so a word that
    is the beginning of no other would never be a piece: each is handed over once more, with a mark behind it.

    What it does in the order of a randomly seeded hash map is undone: it adds up, so that scores differ in their last
    digits, and numbers the characters that were left without a score of their own in steps of 0.0001, above the lowest.
    """
    special = list(Unigram.special_tokens)
    _check_room(vocab_size, len(special) + 1, f"the 5 special tokens and {SPACE_MARK}")
    counts = _count_words(texts, max_words, albert_normalizer(normalization, None), albert_words())
    alphabet = _choose_alphabet(counts, vocab_size - len(special), inside_prefix=None)
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size, special_tokens=special, unk_token=Unigram.special_tokens.unk, show_progress=False
    )
    learned = _train(models.Unigram(), trainer, counts, alphabet, once_more=SPACE_MARK)
    scores = {piece: score for piece, score in learned["vocab"] if piece not in special and SPACE_MARK not in piece[1:]}
    if not scores:
        raise InputError(f"vocab_size {vocab_size}: expected room for the characters of a word")
    lowest = min(scores.values())
    without_own = lowest + UNSCORED_STEP * len(alphabet)
    scores = {
        piece: round(lowest if len(piece) == 1 and score < without_own else score, SCORE_DECIMALS)
        for piece, score in scores.items()
    }
    # Characters first: where these leave no room at all, the trainer gives every other piece that it knows.
    kept = sorted(scores, key=lambda piece: (len(piece) > 1, -scores[piece], piece))[: vocab_size - len(special)]
    pieces = [*special, *sorted(kept, key=lambda piece: (-scores[piece], piece))]
    ids = {piece: i for i, piece in enumerate(pieces)}
    return Unigram(ids=ids, normalization=normalization, scores=[scores.get(piece, 0.0) for piece in pieces])


def _check_room(vocab_size: int, given: int, what: str) -> None:
    if vocab_size <= given:
        raise InputError(f"vocab_size {vocab_size}: expected more than {what}")


def _count_words(
    texts: Iterable[str],
    max_words: int,
    normalizer: normalizers.Normalizer | None,
    splitter: pre_tokenizers.PreTokenizer,
) -> Counter[str]:
    """How often each word stands in the texts, in at most about `max_words` words.

    Chunks between spaces are counted first, and each different one is normalised and split into words once: several
    times faster on English, and the same result, since neither step looks across a space. A chunk that no word is as
    long as is cut, wherever that is, lest it fill the memory.
    normalizer: None, where a text is taken as it is written, and the space before a word is a part of it.

    Raises InputError where there is no word.
    """
    counts: Counter[str] = Counter()
    for chunks in _count_chunks(texts, as_written=normalizer is None):
        for chunk, count in chunks.items():
            normalized = chunk if normalizer is None else normalizer.normalize_str(chunk)
            for word, _ in splitter.pre_tokenize_str(normalized):
                if len(word) <= MAX_WORD_CHARS:
                    counts[word] += count
        if len(counts) > max_words:
            counts = Counter(dict(_by_frequency(counts)[: max_words // 2]))
    if not counts:
        raise InputError("texts to learn a vocabulary from: expected words, found none")
    return counts


def _count_chunks(texts: Iterable[str], *, as_written: bool) -> Iterator[Counter[str]]:
    """as_written: each chunk has the space that stands before it, and line ends and tabs stay: parts of words."""
    chunks: Counter[str] = Counter()
    for text in texts:
        if LONE_SURROGATE.search(text):
            raise unusable_text([text], TypeError())
        text = text if as_written else text.replace("\n", " ").replace("\t", " ")
        first, *others = text.split(" ")
        if len(text) > LONGEST_CHUNK:
            first, *others = itertools.chain.from_iterable(map(_cut, [first, *others]))
        chunks[first] += 1
        chunks.update([f" {chunk}" for chunk in others] if as_written else others)
        if len(chunks) >= CHUNKS_AT_ONCE:
            yield chunks
            chunks = Counter()
    yield chunks


def _cut(chunk: str) -> list[str]:
    return [chunk[at : at + LONGEST_CHUNK] for at in range(0, len(chunk), LONGEST_CHUNK)] or [chunk]


def _by_frequency(counts: Counter[str]) -> list[tuple[str, int]]:
    """Most frequent first, equals in the order of their characters: an order that no hash decides."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _choose_alphabet(counts: Counter[str], room: int, *, inside_prefix: str | None) -> list[str]:
    """Single-character pieces, at most `room`: c for each character kept, ##c where it also stands inside words.

    inside_prefix: that of ##c; None, where a character is the same piece everywhere.
    Kept are the most frequent characters: the first 1,000 always, then more until 99.95 % of the text is covered,
    which a Chinese corpus needs 3,000 to 5,000 for. A word with any other character is unknown.
    """
    characters: Counter[str] = Counter()
    inside: set[str] = set()
    for word, count in counts.items():
        for character in word:
            characters[character] += count
        if inside_prefix is not None:
            inside.update(word[1:])
    kept: list[str] = []
    covered, enough = 0, ALPHABET_COVERAGE * characters.total()
    for character, count in _by_frequency(characters):
        room -= 2 if character in inside else 1
        if room < 0 or (len(kept) >= ALPHABET_ALWAYS and covered >= enough):
            break
        kept.append(character)
        covered += count
    return sorted(kept) + sorted(f"{inside_prefix}{character}" for character in kept if character in inside)


def _train(
    model: models.Model,
    trainer: trainers.Trainer,
    counts: Counter[str],
    alphabet: Iterable[str],
    *,
    once_more: str | None = None,
) -> Any:
    """The model as JSON that the library's trainer makes of the words whose characters are all in `alphabet`.

    The trainers of merges join the most frequent pair of pieces and, among equals, the pair of lowest ids. Left alone
    that of WordPiece numbers the pieces ##c in the order of a randomly seeded hash map, so that ties fall differently
    in every process, and so does even the set of pieces. Given all single-character pieces as "special" tokens, which
    it numbers first and in order, it learns the same pieces in the same order every time; the tests hold it to that.

    It counts pairs in 32 bits and takes words only one by one: beyond 20 million occurrences all counts are
    divided by the same number, and words too rare to keep one occurrence teach nothing.

    once_more: what stands behind each word that is there more than once when it is handed over one more time.
    """
    shrink = max(1.0, counts.total() / WORDS_TO_LIBRARY)
    known = {piece for piece in alphabet if len(piece) == 1}

    def occurrences() -> Iterator[str]:
        for word, count in counts.items():
            if known.issuperset(word):
                remaining = int(count / shrink)
                if once_more is not None and remaining > 1:
                    yield word + once_more
                while remaining > 0:
                    yield " ".join([word] * min(remaining, 1_000))
                    remaining -= 1_000

    library_tokenizer = tokenizers.Tokenizer(model)
    library_tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    library_tokenizer.train_from_iterator(occurrences(), trainer)
    return json.loads(library_tokenizer.to_str())["model"]
