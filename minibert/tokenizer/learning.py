"""Training a vocabulary of any of the three kinds: the same text gives the same vocabulary in every process.

Words are counted first, in bounded memory. The library's trainers, whose ids would otherwise differ from process to
process, then get the words in a form that makes their result deterministic. Nothing here needs torch.
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

CHUNKS_AT_ONCE = 50_000  # distinct space-separated chunks that are held before they are split into words
LONGEST_CHUNK = 10_000  # characters: splitting a chunk into words takes several hundred bytes for each
ALPHABET_ALWAYS = 1_000  # the most frequent characters up to this number are kept whatever they cover
ALPHABET_COVERAGE = 0.9995  # more of them (for Chinese) are kept until this share of the text is covered
WORDS_TO_LIBRARY = 20_000_000  # occurrences handed to the library's trainer
SCORE_DECIMALS = 6  # to which a log-probability is rounded
UNSCORED_STEP = 1e-4  # between the scores that the library's unigram trainer gives characters without one


def normalization_for(
    kind: Kind, lowercase: bool | None, strip_accents: bool | None, chinese_chars: bool | None
) -> Normalization:
    """The normalization for `Tokenizer.train`'s options; None is the kind's default. Raises InputError as it does."""
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
    """Train a vocabulary of `vocab_size` tokens, or fewer if the texts yield no more; see `Tokenizer.train`."""
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
    special = [cls, pad, sep, unk, mask]  # fairseq's order: RoBERTa's positions start after the id of <pad>
    _check_room(vocab_size, len(special) + len(BYTES), "the 5 special tokens and the 256 bytes")
    counts = _count_words(texts, max_words, None, pre_tokenizers.ByteLevel(add_prefix_space=False))
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=special, initial_alphabet=BYTES, show_progress=False
    )
    learned = _train(models.BPE(), trainer, counts, BYTES)
    merges = [(left, right) for left, right in learned["merges"]]
    return ByteLevelBPE(ids=learned["vocab"], normalization=normalization, merges=merges)


def _learn_unigram(texts: Iterable[str], normalization: Normalization, vocab_size: int, max_words: int) -> Unigram:
    """Train a unigram vocabulary: the special tokens, then the pieces by descending probability.

    The trainer's candidates are only strings that different characters follow in different places, so a word that no
    other word begins with could never become a piece. Each word is therefore passed once more, followed by a mark.

    Two effects of the trainer's randomly seeded hash maps are undone: sums in random order change the scores' last
    digits, and characters without a score of their own get scores in steps of 0.0001 above the lowest, in random order.
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
        raise InputError(f"vocab_size {vocab_size}: too small to hold the characters of even one word")
    lowest = min(scores.values())
    without_own = lowest + UNSCORED_STEP * len(alphabet)
    scores = {
        piece: round(lowest if len(piece) == 1 and score < without_own else score, SCORE_DECIMALS)
        for piece, score in scores.items()
    }
    # Characters first: if they leave no room for other pieces, the trainer returns all of those that it knows.
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
    """Count how often each word occurs in the texts, keeping about `max_words` different words at most.

    Chunks between spaces are counted first, and each distinct one is normalised and split into words once. This is
    several times faster on English and gives the same result, since neither step looks across a space. A chunk longer
    than any word can be is cut at an arbitrary place, so that it can't fill the memory.
    normalizer: None if texts are taken as written and the space before a word is part of the word.

    Raises InputError if the texts contain no word.
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
        raise InputError("texts to train a vocabulary on: expected words, found none")
    return counts


def _count_chunks(texts: Iterable[str], *, as_written: bool) -> Iterator[Counter[str]]:
    """Count the chunks between spaces. as_written: chunks keep the space before them, line ends and tabs stay."""
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
    """Return words and counts, most frequent first and ties in alphabetical order, independent of any hash."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _choose_alphabet(counts: Counter[str], room: int, *, inside_prefix: str | None) -> list[str]:
    """Choose at most `room` single-character pieces: c for each character kept, and ##c if it also occurs inside words.

    inside_prefix: the "##" of ##c; None if a character is the same piece everywhere.
    The most frequent characters are kept: always the first 1,000, then more until they cover 99.95 % of the text, for
    which a Chinese corpus needs 3,000 to 5,000. A word with any other character is unknown.
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
    """Run the library's trainer on the words whose characters are all in `alphabet`; return the model as JSON.

    The trainers that merge pieces join the most frequent pair and, among equals, the pair with the lowest ids. By
    default WordPiece's numbers the pieces ##c in the order of a randomly seeded hash map: ties are broken differently
    in every process, and even the set of pieces changes. If it gets all single-character pieces as "special" tokens,
    which it numbers first and in order, the pieces and their order are always the same; tests check this.

    The trainer counts pairs in 32 bits and takes words only one by one: beyond 20 million occurrences all counts are
    divided by the same number, and words too rare to keep one occurrence have no effect.

    once_more: appended to each word that occurs more than once, when the word is passed one more time.
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
