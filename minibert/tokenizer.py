"""WordPiece: train a vocabulary, load one, turn texts into a `Batch` of tensors, and ids back into text.

The pieces come from the `tokenizers` library; what is added here is a vocabulary that is the same whenever it is
trained on the same text, the files of a model directory, and a typed batch. Sources: Devlin et al. 2018, section 3
([CLS] A [SEP] B [SEP], segments 0 and 1); Wu et al. 2016 (WordPiece, arXiv 1609.08144).

torch is imported only where tensors are made: the worker processes of `pretrain prepare` have no use for it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors

from minibert.errors import InputError
from minibert.vocabulary import (
    CLS,
    CONTINUATION,
    LONE_SURROGATE,
    SEP,
    SPECIAL_TOKENS,
    UNK,
    Normalization,
    Vocabulary,
    bert_normalizer,
    learn_vocabulary,
    unusable_text,
)
from minibert.vocabulary_files import read_vocabulary

if TYPE_CHECKING:
    import torch

# Scripts written without spaces: a word of these must be found inside running text. The ideographs are the blocks
# that BERT splits by character; Japanese kana come on top.
UNSPACED = re.compile(
    "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0002a6df\U0002a700-\U0002ceaf\U0002f800-\U0002fa1f]"
)

# `encode_whole` holds so many encodings, of a hundred bytes and more a token, in memory.
TEXTS_AT_ONCE = 1_000


@dataclass(frozen=True)
class Batch:
    """Encoded texts, padded on the right. B texts (or pairs), T tokens in the longest (or `max_length`).

    offsets hold the [start, end) characters of a token in its own text: the first where token_type_ids is 0, the
    second where it is 1. [CLS], [SEP] and padding have (0, 0).
    special_tokens_mask is True at [PAD], [CLS], [SEP] and [MASK], also where the text itself spelled one of them;
    not at [UNK], which stands for a word of the text.
    """

    input_ids: torch.Tensor  # (B, T) int64
    token_type_ids: torch.Tensor  # (B, T) int64: 0 in the first segment and in padding, 1 in the second
    attention_mask: torch.Tensor  # (B, T) bool: True at a real token, False at padding
    special_tokens_mask: torch.Tensor  # (B, T) bool
    offsets: torch.Tensor  # (B, T, 2) int64, characters
    lengths: torch.Tensor  # (B,) int64: real tokens, [CLS] and [SEP] counted

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with every tensor on `device`."""
        return Batch(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})

    def __len__(self) -> int:
        """The number of texts, B."""
        return len(self.input_ids)


class Tokenizer:
    """A WordPiece tokenizer. Made by `Tokenizer.train` or `Tokenizer.load`, called to encode.

    The five special tokens are recognised wherever a text spells them out, also when lower-casing: `[MASK]` in a
    text is one token.
    """

    normalization: Normalization  # its options
    pad_id: int
    unk_id: int
    cls_id: int
    sep_id: int
    mask_id: int

    def __init__(self, vocabulary: Vocabulary) -> None:
        """Users call `train` or `load`, which make the vocabulary."""
        self.normalization = vocabulary.normalization
        self._tokenizer = _assemble(vocabulary)
        self._tokens = _tokens_by_id(self._tokenizer)
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = map(self._tokens.index, SPECIAL_TOKENS)

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        *,
        vocab_size: int,
        lowercase: bool = True,
        strip_accents: bool | None = None,
        chinese_chars: bool = True,
        max_words: int | None = None,
    ) -> Tokenizer:
        """Learn a vocabulary of exactly `vocab_size` tokens, or fewer where the text has no more to give.

        The special tokens have ids 0 to 4; then come the single characters, those that go on with a word (##c), and
        the merged pieces in the order in which they were learned. The same text gives the same vocabulary in every
        process (see `minibert.vocabulary`).

        `strip_accents` None means: as `lowercase`. Memory is bounded: texts are streamed, and when more than
        `max_words` different words have been counted, only the more frequent half is kept (ties in the order of
        the words). That leaves alone what becomes a piece, as long as `max_words` is many times `vocab_size`; None:
        six times, and 50,000 at least.

        Raises InputError: `vocab_size` has no room for a character, `max_words` under 2, no word in the texts.
        """
        normalization = Normalization(lowercase, lowercase if strip_accents is None else strip_accents, chinese_chars)
        most = max(50_000, 6 * vocab_size) if max_words is None else max_words
        return cls(learn_vocabulary(texts, normalization, vocab_size, most))

    @classmethod
    def load(cls, path: str | Path) -> Tokenizer:
        """Read a directory that holds `tokenizer.json` (preferred) or `vocab.txt`, or one of these files.

        A `tokenizer_config.json` beside it may set `do_lower_case`, `strip_accents` and `tokenize_chinese_chars`;
        what it sets wins over `tokenizer.json`, as in transformers (what it leaves open does not: transformers would
        take its own defaults). Added tokens and further special ones are read from it too, or from
        `added_tokens.json` and `special_tokens_map.json`. A bare `vocab.txt` whose tokens contain a word with
        upper-case letters is cased, any other lower-cases. Truncation, padding and the post-processor that a
        `tokenizer.json` carries are left out: every call of ours says what it wants.

        Raises InputError, naming the file: missing, not UTF-8, not parseable, not WordPiece with BERT's normaliser,
        another class of tokenizer, other special tokens than BERT's five, one of them missing, a token twice, ids
        with gaps.
        """
        return cls(read_vocabulary(Path(path)))

    def save(self, directory: str | Path) -> None:
        """Write `tokenizer.json` (all there is to know) and `vocab.txt` (one token a line, added ones too).

        The same tokenizer gives the same bytes. `vocab.txt` alone carries no options, and finds an added word
        only where it stands between spaces.
        """
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "tokenizer.json").write_bytes(self._tokenizer.to_str(pretty=True).encode() + b"\n")
        (directory / "vocab.txt").write_bytes("".join(f"{token}\n" for token in self._tokens).encode())

    def __call__(
        self,
        texts: Sequence[str] | str,
        pairs: Sequence[str] | str | None = None,
        *,
        max_length: int | None = None,
        pad_to: Literal["longest", "max_length"] = "longest",
    ) -> Batch:
        """Encode texts as [CLS] A [SEP], pairs as [CLS] A [SEP] B [SEP]; one string is a batch of one.

        Longer than `max_length` tokens (special ones counted) is cut, the longer text of a pair first, as
        transformers' fast tokenizers do.

        Raises InputError: no text, texts and pairs of different number, `max_length` without room for one token
        beside the special ones, `pad_to="max_length"` without `max_length`, a text that is not valid Unicode.
        """
        texts = [texts] if isinstance(texts, str) else list(texts)
        pairs = [pairs] if isinstance(pairs, str) else pairs
        if not texts:
            raise InputError("empty batch: expected at least one text")
        if pairs is not None and len(pairs) != len(texts):
            raise InputError(f"{len(texts)} texts but {len(pairs)} pairs: expected as many of both")
        special = 2 if pairs is None else 3
        if max_length is not None and max_length <= special:
            raise InputError(
                f"max_length {max_length}: expected at least {special + 1} (special tokens take {special})"
            )
        if pad_to == "max_length" and max_length is None:
            raise InputError('pad_to="max_length": expected a max_length')

        items = texts if pairs is None else list(zip(texts, pairs, strict=True))
        if max_length is not None:
            self._tokenizer.enable_truncation(max_length)  # longest first is the library's default
        try:
            encodings = self._tokenizer.encode_batch(items)
        except TypeError as error:
            raise unusable_text([*texts, *(pairs or [])], error) from error
        finally:
            self._tokenizer.no_truncation()
        width = max_length if pad_to == "max_length" else None
        return self._collate(encodings, width)

    def _collate(self, encodings: Sequence[tokenizers.Encoding], width: int | None) -> Batch:
        """Pad to `width` tokens (None: the longest) and make tensors."""
        import torch

        lengths = np.array([len(encoding) for encoding in encodings], dtype=np.int64)
        shape = (len(encodings), int(lengths.max()) if width is None else width)
        input_ids = np.full(shape, self.pad_id, dtype=np.int64)
        token_type_ids = np.zeros(shape, dtype=np.int64)
        offsets = np.zeros((*shape, 2), dtype=np.int64)
        for row, (encoding, length) in enumerate(zip(encodings, lengths, strict=True)):
            input_ids[row, :length] = encoding.ids
            token_type_ids[row, :length] = encoding.type_ids
            offsets[row, :length] = encoding.offsets
        return Batch(
            input_ids=torch.from_numpy(input_ids),
            token_type_ids=torch.from_numpy(token_type_ids),
            attention_mask=torch.from_numpy(np.arange(shape[1]) < lengths[:, None]),
            special_tokens_mask=torch.from_numpy(
                np.isin(input_ids, [self.pad_id, self.cls_id, self.sep_id, self.mask_id])
            ),
            offsets=torch.from_numpy(offsets),
            lengths=torch.from_numpy(lengths),
        )

    def encode_plain(self, texts: list[str]) -> list[list[int]]:
        """Ids of the text alone, a list a text: no special tokens, no truncation, no offsets. For much text.

        Here the text cannot spell a special token: "[SEP]" in a corpus is the words "[", "sep", "]", so that no
        training sequence gets a separator in its middle. Raises InputError on text that is not valid Unicode.
        """
        self._tokenizer.encode_special_tokens = True
        try:
            encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        except TypeError as error:
            raise unusable_text(texts, error) from error
        finally:
            self._tokenizer.encode_special_tokens = False
        return [encoding.ids for encoding in encodings]

    def encode_whole(self, texts: Sequence[str]) -> Iterator[list[int]]:
        """Ids of each text as [CLS] A [SEP], uncut, without padding or offsets: those of a call, for many texts.

        Raises InputError on text that is not valid Unicode.
        """
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            try:
                encodings = self._tokenizer.encode_batch_fast(list(texts[start : start + TEXTS_AT_ONCE]))
            except TypeError as error:
                raise unusable_text(texts, error) from error
            yield from (encoding.ids for encoding in encodings)

    def decode(self, ids: Iterable[int], *, skip_special_tokens: bool = True) -> str:
        """Text of `ids` (a list, array or 1-d tensor); white space and case that encoding lost stay lost.

        Raises IndexError for an id outside the vocabulary.
        """
        return self._tokenizer.decode(self._checked(ids), skip_special_tokens=skip_special_tokens)

    def tokens(self, ids: Iterable[int]) -> list[str]:
        """The token of each id. Raises IndexError for an id outside the vocabulary."""
        return [self._tokens[i] for i in self._checked(ids)]

    def token_to_id(self, token: str) -> int | None:
        """The id of a token as it stands in the vocabulary ("##ing", "[MASK]"), None when it is not there."""
        return self._tokenizer.token_to_id(token)

    def id_to_token(self, token_id: int) -> str:
        """The token of an id. Raises IndexError outside the vocabulary."""
        return self.tokens([token_id])[0]

    def _checked(self, ids: Iterable[int]) -> list[int]:
        """Ids as a list of ints. The library would silently leave out an id that it does not know."""
        checked, size = [int(i) for i in ids], self.vocab_size
        for i in checked:
            if not 0 <= i < size:
                raise IndexError(f"token id {i}: expected 0 to {size - 1}")
        return checked

    def add_tokens(self, words: Sequence[str]) -> int:
        """Make each word one token from now on; returns how many ids are new (a word that is one already adds none).

        A word is normalised first (COVID becomes covid where everything is lower-cased) and then found between
        word bounds, so that "cat" leaves "concatenate" alone; a word with Chinese characters or kana is found
        exactly as written, anywhere, since such text has no spaces.

        Raises InputError, nothing being added: an empty word, one that spans lines, one that begins with "##",
        one that is not valid Unicode.
        """
        before = self.vocab_size
        written = [self.as_found_in_text(word) for word in words]
        encodings = self._tokenizer.encode_batch_fast(written, add_special_tokens=False)
        known = {word for word, e in zip(written, encodings, strict=True) if len(e) == 1 and e.ids != [self.unk_id]}
        # All at once: at every call the library prepares its search for added words anew.
        self._tokenizer.add_tokens([_added_word(word) for word in written if word not in known])
        self._tokens = _tokens_by_id(self._tokenizer)
        return self.vocab_size - before

    def as_found_in_text(self, word: str) -> str:
        """A word to add as the vocabulary has it: normalised; as written where it is unspaced or a special token.

        Raises InputError, as `add_tokens`.
        """
        if word in SPECIAL_TOKENS:
            return word
        if LONE_SURROGATE.search(word):
            raise InputError(f"token to add {word!r}: expected Unicode text, found a lone surrogate")
        one_line = len(word.splitlines()) == 1
        written = word.strip() if UNSPACED.search(word) else self._tokenizer.normalizer.normalize_str(word).strip()
        if not written or not one_line or written.startswith(CONTINUATION):
            raise InputError(f"token to add {word!r}: expected a word on one line that does not begin with ##")
        return written

    @property
    def vocab_size(self) -> int:
        """Number of tokens, added ones included; ids are 0 to this - 1."""
        return len(self._tokens)

    @property
    def max_word_chars(self) -> int:
        """A word of more characters is [UNK] as a whole."""
        return self._tokenizer.model.max_input_chars_per_word

    @property
    def continuation_mask(self) -> np.ndarray:
        """(V,) bool: True where the piece goes on with a word ("##ing")."""
        return np.array([token.startswith(CONTINUATION) and token != CONTINUATION for token in self._tokens])

    @property
    def fingerprint(self) -> str:
        """sha256 (hex) of all that decides which ids a text gets: equal for equal tokenizers, after saving too."""
        content = json.loads(self._tokenizer.to_str())
        decisive = {key: content[key] for key in ("added_tokens", "normalizer", "pre_tokenizer", "model")}
        canonical = json.dumps(decisive, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


def _assemble(vocabulary: Vocabulary) -> tokenizers.Tokenizer:
    """BERT's pipeline: normalise, split at spaces and punctuation, longest pieces first, [CLS] A [SEP] B [SEP]."""
    tokenizer = tokenizers.Tokenizer(
        models.WordPiece(
            vocabulary.ids,
            unk_token=UNK,
            continuing_subword_prefix=CONTINUATION,
            max_input_chars_per_word=vocabulary.max_word_chars,
        )
    )
    tokenizer.normalizer = bert_normalizer(vocabulary.normalization)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix=CONTINUATION)

    # normalized=False: looked for in the text as written, or lower-casing would hide "[MASK]".
    added = {
        token: (vocabulary.ids[token], AddedToken(token, special=True, normalized=False))
        for token in SPECIAL_TOKENS
        if token in vocabulary.ids
    }
    added |= {token.content: (token_id, token) for token_id, token in vocabulary.added}
    # The library numbers tokens that the model does not have in the order in which they are added.
    in_order = [token for _, token in sorted(added.values(), key=lambda pair: pair[0])]
    for special, tokens in groupby(in_order, key=lambda token: token.special):
        (tokenizer.add_special_tokens if special else tokenizer.add_tokens)(list(tokens))

    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{CLS}:0 $A:0 {SEP}:0",
        pair=f"{CLS}:0 $A:0 {SEP}:0 $B:1 {SEP}:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (CLS, SEP)],
    )
    return tokenizer


def _tokens_by_id(tokenizer: tokenizers.Tokenizer) -> list[str]:
    ids = tokenizer.get_vocab(with_added_tokens=True)
    return sorted(ids, key=lambda token: ids[token])


def _added_word(word: str) -> AddedToken:
    unspaced = UNSPACED.search(word) is not None
    # Normalisation puts spaces round every ideograph, so an unspaced word is looked for in the text as written.
    return AddedToken(word, special=False, single_word=not unspaced, normalized=not unspaced)
