"""The three kinds of vocabulary that BERT and its relatives use.

Each kind is a class that declares its particulars: its special tokens, the layout of a pair, how a word is cut into
pieces, and which pieces continue a word. `directory.py` reads a vocabulary from files, `learning.py` trains one on
text, and `tokenizer.py` makes a tokenizer from either. Nothing here needs torch.

Sources: Wu et al. 2016 (WordPiece, arXiv 1609.08144); Radford et al. 2019, "Language Models are Unsupervised Multitask
Learners", section 2.2 (byte-level BPE, which RoBERTa adopted); Kudo 2018 (the unigram model, arXiv 1804.10959,
which ALBERT uses through SentencePiece).
"""

import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import ClassVar, Literal, NamedTuple

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors

from minibert.errors import InputError
from minibert.files.text import LONE_SURROGATE

Kind = Literal["wordpiece", "bpe", "unigram"]

CONTINUATION = "##"  # WordPiece: the prefix of a piece that continues a word
MAX_WORD_CHARS = 100  # WordPiece: a longer word is [UNK] as a whole, as in the reference
SPACE_BYTE = "Ġ"  # byte-level BPE writes every byte as a printable character, a space as this one
SPACE_MARK = "▁"  # SentencePiece: put before every word
CUT_CHARACTER = "\ufffd"  # shown for part of a character, if a piece has only some of its bytes


# The blocks of ideographs that BERT splits by character.
IDEOGRAPHS = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002ceaf\U0002f800-\U0002fa1f"
# Scripts written without spaces, whose words must be found inside running text: ideographs and Japanese kana.
UNSPACED = re.compile(f"[\u3040-\u30ff{IDEOGRAPHS}]")


class SpecialTokens(NamedTuple):
    """The five special tokens that every kind has, as the kind spells them."""

    pad: str = "[PAD]"
    unk: str = "[UNK]"
    cls: str = "[CLS]"
    sep: str = "[SEP]"
    mask: str = "[MASK]"


@dataclass(frozen=True)
class Normalization:
    """What is done to characters before a text is split into words."""

    lowercase: bool = True
    strip_accents: bool = True  # é -> e
    chinese_chars: bool = True  # every CJK ideograph is a word of its own
    clean_text: bool = True  # control characters are removed, all white space becomes spaces


@dataclass(frozen=True, kw_only=True)
class Vocabulary(ABC):
    """Everything that defines a tokenizer. The values declared here are BERT's; each kind overrides what differs."""

    ids: dict[str, int]  # token -> id
    normalization: Normalization = field(default_factory=Normalization)
    added: list[tuple[int, AddedToken]] = field(default_factory=list)  # id, token: found before words are split

    kind: ClassVar[Kind]
    special_tokens: ClassVar[SpecialTokens] = SpecialTokens()
    separators: ClassVar[int] = 1  # between A and B
    second_segment: ClassVar[int] = 1  # the token_type_id of B
    mask_takes_space: ClassVar[bool] = False  # whether [MASK] takes the space before it; the word after it has its own
    word_mark: ClassVar[str] = ""  # with which a piece that begins a word begins; if "", `goes_on` is overridden

    @abstractmethod
    def pipeline(self) -> tokenizers.Tokenizer:
        """Return normaliser, splitter, model and decoder."""

    def assemble(self) -> tokenizers.Tokenizer:
        """Return the pipeline with the tokens found before it and the special tokens around a text or a pair."""
        tokenizer = self.pipeline()
        added: dict[str, tuple[int, AddedToken]] = {}
        for token in self.ids.keys() & self.special_tokens:
            takes_space = self.mask_takes_space and token == self.special_tokens.mask
            # normalized=False: searched for in the text as written, since lower-casing would hide "[MASK]".
            added[token] = self.ids[token], AddedToken(token, special=True, normalized=False, lstrip=takes_space)
        added |= {token.content: (token_id, token) for token_id, token in self.added}
        # The library numbers tokens that are not in the model in the order in which they are added.
        in_order = [token for _, token in sorted(added.values(), key=lambda pair: pair[0])]
        for special, tokens in groupby(in_order, key=lambda token: token.special):
            (tokenizer.add_special_tokens if special else tokenizer.add_tokens)(list(tokens))

        cls, sep, b = self.special_tokens.cls, self.special_tokens.sep, self.second_segment
        frame = processors.TemplateProcessing(
            single=f"{cls}:0 $A:0 {sep}:0",
            pair=f"{cls}:0 $A:0" + f" {sep}:0" * self.separators + f" $B:{b} {sep}:{b}",
            special_tokens=[(token, tokenizer.token_to_id(token)) for token in (cls, sep)],
        )
        before = tokenizer.post_processor
        tokenizer.post_processor = frame if before is None else processors.Sequence([before, frame])
        return tokenizer

    def plain_model(self) -> models.Model | None:
        """Return a model that never finds special tokens in a word; None if the usual model doesn't either."""
        return None

    @classmethod
    def goes_on(cls, piece: str) -> bool:
        """Return whether a piece continues the word that the piece before it belongs to.

        If words are marked by the space before them, every piece does except one with the mark and one that begins with
        a punctuation mark or a character of an unspaced script, which begins a word, as in WordPiece.
        """
        first = cls.characters(piece)[0]
        if piece.startswith(cls.word_mark) or UNSPACED.match(first):
            return False
        return first == CUT_CHARACTER or unicodedata.category(first)[0] not in "PS"

    @classmethod
    def characters(cls, piece: str) -> str:
        """Return the characters that a piece stands for in a text, including the mark of a word."""
        return piece

    @classmethod
    def byte_length(cls, piece: str) -> int:
        """Return the number of UTF-8 bytes of text that a piece stands for, without the space before a word."""
        return len(piece.removeprefix(cls.word_mark).encode())


@dataclass(frozen=True, kw_only=True)
class WordPiece(Vocabulary):
    """BERT's kind: from left to right, the longest possible piece is cut off a word."""

    max_word_chars: int = MAX_WORD_CHARS

    kind: ClassVar[Kind] = "wordpiece"

    def pipeline(self) -> tokenizers.Tokenizer:
        model = models.WordPiece(
            self.ids, unk_token=self.special_tokens.unk, continuing_subword_prefix=CONTINUATION,
            max_input_chars_per_word=self.max_word_chars,
        )  # fmt: skip
        tokenizer = tokenizers.Tokenizer(model)
        tokenizer.normalizer = bert_normalizer(self.normalization)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece(prefix=CONTINUATION)
        return tokenizer

    @classmethod
    def goes_on(cls, piece: str) -> bool:
        return piece.startswith(CONTINUATION) and piece != CONTINUATION

    @classmethod
    def byte_length(cls, piece: str) -> int:
        return len((piece.removeprefix(CONTINUATION) if cls.goes_on(piece) else piece).encode())


AS_WRITTEN = Normalization(lowercase=False, strip_accents=False, chinese_chars=False, clean_text=False)
BYTES = pre_tokenizers.ByteLevel.alphabet()  # the 256 characters that stand for bytes


@dataclass(frozen=True, kw_only=True)
class ByteLevelBPE(Vocabulary):
    """RoBERTa's kind: the bytes of a word and of the space before it are joined pair by pair, in the order of merges.

    No word is ever unknown, since every byte is a piece. The text is not normalised.
    """

    merges: list[tuple[str, str]]
    normalization: Normalization = AS_WRITTEN
    add_prefix_space: bool = False  # before a text's first word, which is then cut as if inside a sentence

    kind: ClassVar[Kind] = "bpe"
    special_tokens: ClassVar[SpecialTokens] = SpecialTokens("<pad>", "<unk>", "<s>", "</s>", "<mask>")
    separators: ClassVar[int] = 2
    second_segment: ClassVar[int] = 0
    mask_takes_space: ClassVar[bool] = True
    word_mark: ClassVar[str] = SPACE_BYTE

    def pipeline(self) -> tokenizers.Tokenizer:
        tokenizer = tokenizers.Tokenizer(models.BPE(self.ids, self.merges))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=self.add_prefix_space)
        tokenizer.decoder = decoders.ByteLevel()
        # It makes the offsets of " word" those of "word".
        tokenizer.post_processor = processors.ByteLevel(add_prefix_space=self.add_prefix_space, trim_offsets=True)
        return tokenizer

    @classmethod
    def characters(cls, piece: str) -> str:
        return bytes(BYTE_OF.get(each, ord("?")) for each in piece).decode(errors="replace")

    @classmethod
    def byte_length(cls, piece: str) -> int:
        return len(piece.removeprefix(SPACE_BYTE))


# The characters of BYTES in the order of their bytes: a printable Latin-1 character stands for itself, and every other
# byte gets the next character from U+0100 on.
_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_OTHERS = [byte for byte in range(256) if byte not in _PRINTABLE]
BYTE_OF = {chr(byte): byte for byte in _PRINTABLE} | {chr(0x100 + i): byte for i, byte in enumerate(_OTHERS)}


@dataclass(frozen=True, kw_only=True)
class Unigram(Vocabulary):
    """ALBERT's kind: each piece has a log-probability, and a word is cut in the likeliest of all possible ways."""

    scores: list[float]  # by id
    charsmap: bytes | None = None  # SentencePiece's table of character replacements, as in the file

    kind: ClassVar[Kind] = "unigram"
    special_tokens: ClassVar[SpecialTokens] = SpecialTokens("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")
    mask_takes_space: ClassVar[bool] = True
    word_mark: ClassVar[str] = SPACE_MARK

    def pipeline(self) -> tokenizers.Tokenizer:
        tokenizer = tokenizers.Tokenizer(self._model(sorted(self.ids, key=lambda token: self.ids[token])))
        tokenizer.normalizer = albert_normalizer(self.normalization, self.charsmap)
        tokenizer.pre_tokenizer = albert_words()
        tokenizer.decoder = decoders.Metaspace(replacement=SPACE_MARK)
        return tokenizer

    def plain_model(self) -> models.Model | None:
        """Return the model with special tokens renamed, since the library also finds those when it cuts a word.

        Their new names contain a space, which no word does, so they are never found; ids and scores don't change.
        """
        tokens = sorted(self.ids, key=lambda token: self.ids[token])
        return self._model([f" {token}" if token in self.special_tokens else token for token in tokens])

    def _model(self, tokens: Sequence[str]) -> models.Model:
        return models.Unigram(list(zip(tokens, self.scores, strict=True)), unk_id=self.ids[self.special_tokens.unk])


def in_running_text(texts: Sequence[str]) -> list[str]:
    """Put before each word or sentence the space that it has in running text, unless its script has none."""
    return [text if UNSPACED.match(text) else f" {text}" for text in texts]


def bert_normalizer(given: Normalization) -> normalizers.Normalizer:
    """Return BERT's steps: control characters, ideographs as words, accents, case."""
    return normalizers.BertNormalizer(given.clean_text, given.chinese_chars, given.strip_accents, given.lowercase)


def albert_normalizer(normalization: Normalization, charsmap: bytes | None) -> normalizers.Normalizer:
    """Return ALBERT's steps in order: `` and '' become ", then accents, case, and SentencePiece's own table."""
    steps: list[normalizers.Normalizer] = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    if normalization.strip_accents:
        steps += [normalizers.NFKD(), normalizers.StripAccents()]
    if normalization.lowercase:
        steps.append(normalizers.Lowercase())
    if charsmap is not None:
        steps.append(normalizers.Precompiled(charsmap))
    return normalizers.Sequence(steps)


def albert_words() -> pre_tokenizers.PreTokenizer:
    """Return ALBERT's splitter: words are separated by white space, and each gets the mark before it."""
    return pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement=SPACE_MARK)])


def unusable_text(texts: Sequence[str], error: TypeError) -> InputError:
    """Return an error that says which text is unusable and where; the library's own says only "must be str"."""
    for number, text in enumerate(texts, 1):
        if not isinstance(text, str):
            return InputError(f"text {number}: expected a string, found {type(text).__name__}")
        if lone := LONE_SURROGATE.search(text):
            return InputError(f"text {number}, character {lone.start()}: expected Unicode text, found a lone surrogate")
    return InputError(f"texts: {error}")
