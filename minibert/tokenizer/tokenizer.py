"""The tokenizer: train a vocabulary or load one, turn texts into ids, and ids back into text.

The `tokenizers` library cuts words into pieces. This module adds vocabularies that are always the same for the same
text, the files of a model directory, and a typed batch. The differences between the tokenizers of BERT and its
relatives are in `minibert.tokenizer.vocabulary`. Source of [CLS] A [SEP] B [SEP]: Devlin et al. 2018, section 3.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tokenizers
from numpy.typing import ArrayLike, NDArray
from tokenizers import AddedToken

from minibert.errors import InputError
from minibert.files.text import LONE_SURROGATE, check_path
from minibert.tokenizer.batch import Batch, Encoding, pad
from minibert.tokenizer.directory import read_vocabulary
from minibert.tokenizer.learning import learn_vocabulary, normalization_for
from minibert.tokenizer.long_texts import Seams, in_batches
from minibert.tokenizer.vocabulary import (
    CONTINUATION,
    CUT_CHARACTER,
    SPACE_MARK,
    UNSPACED,
    Kind,
    Vocabulary,
    in_running_text,
    unusable_text,
)


class Tokenizer:
    """A tokenizer, made by `Tokenizer.train` or `Tokenizer.load`; calling it encodes texts.

    The special tokens are recognised wherever a text spells them out, even with lower-casing: `[MASK]` is one token.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.kind = vocabulary.kind  # "wordpiece" (BERT), "bpe" (byte-level: RoBERTa) or "unigram" (ALBERT)
        self.normalization = vocabulary.normalization
        self.special_tokens = vocabulary.special_tokens  # as they are spelled
        self.separators = vocabulary.separators  # [SEP] between two texts: 1, or 2
        self.second_segment = vocabulary.second_segment  # token_type_id of the second text: 1, or 0 like the first
        self._class = type(vocabulary)
        self._tokenizer = vocabulary.assemble()
        self._plain_model = vocabulary.plain_model()
        self._know_tokens()
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = map(self._tokens.index, self.special_tokens)

    def __repr__(self) -> str:
        options = {"kind": self.kind, "vocab_size": self.vocab_size, **vars(self.normalization)}
        return f"Tokenizer({', '.join(f'{name}={value!r}' for name, value in options.items())})"

    def _know_tokens(self) -> None:
        ids = self._tokenizer.get_vocab(with_added_tokens=True)
        self._tokens = sorted(ids, key=lambda token: ids[token])
        added = self._tokenizer.get_added_tokens_decoder()
        self._added_ids = frozenset(added)
        self._seams = Seams(self.kind, added.values(), chinese_chars=self.normalization.chinese_chars)

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        *,
        vocab_size: int,
        kind: Kind = "wordpiece",
        lowercase: bool | None = None,
        strip_accents: bool | None = None,
        chinese_chars: bool | None = None,
        max_words: int | None = None,
    ) -> Tokenizer:
        """Train a vocabulary of exactly `vocab_size` tokens, or fewer if the texts yield no more.

        The special tokens have ids 0 to 4. In WordPiece they are followed by the single characters, the characters that
        continue a word (##c), and the merged pieces in the order of training; in byte-level BPE by the 256 bytes and
        the merged pieces; in the unigram model by the pieces, likeliest first. The same text gives the same vocabulary
        in every process (see `minibert.tokenizer.learning`).

        `lowercase` defaults to true, `strip_accents` to `lowercase`, `chinese_chars` (each ideograph is a word) to true
        for WordPiece only. Byte-level BPE keeps the text as it is. Memory is bounded: texts are streamed, and when more
        than `max_words` different words have been counted, only the more frequent half is kept (ties in alphabetical
        order). This does not change the pieces as long as `max_words` is many times `vocab_size`; by default it is six
        times `vocab_size`, and at least 50,000.

        Raises InputError if `vocab_size` has no room for a character, `max_words` is below 2, the texts contain no
        word, or an option does not exist for the kind.
        """
        normalization = normalization_for(kind, lowercase, strip_accents, chinese_chars)
        most = max(50_000, 6 * vocab_size) if max_words is None else max_words
        return cls(learn_vocabulary(texts, kind, normalization, vocab_size, most))

    @classmethod
    def load(cls, path: str | Path) -> Tokenizer:
        """Read a directory or one file in it: `tokenizer.json` (preferred), `vocab.txt` (WordPiece), `vocab.json` with
        `merges.txt` next to it (byte-level BPE), or `spiece.model` (the unigram model).

        A `tokenizer_config.json` next to it may set `do_lower_case`, `strip_accents`, `tokenize_chinese_chars`,
        `keep_accents` or `add_prefix_space`. A value there overrides `tokenizer.json`, as in transformers; for an
        option that it leaves out, `tokenizer.json` counts (transformers would take its own default). Added and further
        special tokens are read from it too, or from `added_tokens.json` and `special_tokens_map.json`. A `vocab.txt`
        alone is cased if one of its tokens is a word with upper-case letters, and otherwise lower-cases. Truncation,
        padding and post-processor of a `tokenizer.json` are ignored: the caller decides on them.

        If no file says otherwise, <mask> and ALBERT's [MASK] take the space before them, as when these models were
        trained; in transformers 5 they don't. Nor does transformers 5 read a `spiece.model` alone as ALBERT was
        trained; see `minibert.tokenizer.spiece`.

        Raises InputError, naming the file, if it is missing, not UTF-8 or not parseable, its pieces, normaliser or
        tokenizer class are of another kind, the kind's five special tokens differ, a token repeats, or ids have gaps.
        """
        check_path(path)
        return cls(read_vocabulary(Path(path)))

    def save(self, directory: str | Path) -> None:
        """Write `tokenizer.json`, which is complete, and for WordPiece `vocab.txt` (one token a line, added ones too).

        The same tokenizer gives the same bytes. `vocab.txt` alone has no options, and a tokenizer made from it finds an
        added word only between spaces.
        """
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "tokenizer.json").write_bytes(self._tokenizer.to_str(pretty=True).encode() + b"\n")
        if self.kind == "wordpiece":
            (directory / "vocab.txt").write_bytes("".join(f"{token}\n" for token in self._tokens).encode())

    def __call__(
        self,
        texts: Sequence[str] | str,
        pairs: Sequence[str] | str | None = None,
        *,
        max_length: int | None = None,
        pad_to: Literal["longest", "max_length"] = "longest",
    ) -> Batch:
        """Encode texts as [CLS] A [SEP], pairs as [CLS] A [SEP] B [SEP] (RoBERTa: <s> A </s></s> B </s>, all of one
        segment); one string is a batch of one.

        More than `max_length` tokens (special ones included) are truncated, the longer text of a pair first, as by
        transformers' fast tokenizers.

        Raises InputError if there is no text, the numbers of texts and pairs differ, `max_length` has no room for a
        token besides the special ones or is missing for `pad_to="max_length"`, or a text is not valid Unicode.
        """
        import torch  # here: the worker processes of `pretrain prepare` don't need it

        texts = [texts] if isinstance(texts, str) else list(texts)
        pairs = [pairs] if isinstance(pairs, str) else pairs
        if not texts:
            raise InputError("empty batch: expected at least one text")
        if pad_to == "max_length" and max_length is None:
            raise InputError('pad_to="max_length": expected a max_length')
        encodings = list(self._encodings(texts, pairs, max_length=max_length, offsets=True))
        length = max_length if pad_to == "max_length" else None
        input_ids = pad([each.ids for each in encodings], self.pad_id, length=length)
        lengths = torch.tensor([len(each) for each in encodings])
        # None marks tokens that the template added, and not special tokens that a text spells out.
        sequence_ids = [[-1 if number is None else number for number in each.sequence_ids] for each in encodings]
        return Batch(
            input_ids=input_ids,
            token_type_ids=pad([each.type_ids for each in encodings], 0, length=length),
            sequence_ids=pad(sequence_ids, -1, length=length),
            attention_mask=torch.arange(input_ids.size(1)) < lengths[:, None],
            special_tokens_mask=torch.isin(
                input_ids, torch.tensor([self.pad_id, self.cls_id, self.sep_id, self.mask_id])
            ),
            offsets=pad([each.offsets for each in encodings], 0, length=length),
            lengths=lengths,
        )

    def encode(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, max_length: int | None = None
    ) -> Iterator[Encoding]:
        """Yield the rows of a call one by one, unpadded: for many texts. Raises InputError as a call does."""
        for each in self._encodings(texts, pairs, max_length=max_length):
            ids = np.array(each.ids, np.int32)
            yield Encoding(ids, len(ids) - sum(each.type_ids))

    def encode_with_offsets(self, texts: Sequence[str]) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int64]]]:
        """Yield each text's ids (T,), without [CLS] and [SEP], and the [start, end) characters of its tokens, (T, 2).

        Raises InputError as a call does.
        """
        for each in self._encodings(texts, offsets=True):
            yield np.array(each.ids, np.int32)[1:-1], np.array(each.offsets)[1:-1]

    def encode_whole(self, texts: Sequence[str], *, tokens: int | None = None) -> Iterator[list[int]]:
        """Return the ids that `encode` gives without truncation. Raises InputError if a text is not valid Unicode.

        tokens: a long text may be encoded only up to a point beyond this many tokens; None: all of it.
        """
        return (each.ids for each in self._encodings(texts, enough=tokens))

    def _encodings(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        max_length: int | None = None,
        enough: int | None = None,
        offsets: bool = False,
    ) -> Iterator[tokenizers.Encoding]:
        """Yield the library's encodings; without `offsets` faster, and of a long text only as far as `enough` requires.

        Raises InputError as a call does.
        """
        if pairs is not None and len(pairs) != len(texts):
            raise InputError(f"{len(texts)} texts but {len(pairs)} pairs: expected equal numbers")
        special = self.special_count(pair=pairs is not None)
        if max_length is not None and max_length <= special:
            expected = f"expected at least {special + 1} (special tokens take {special})"
            raise InputError(f"max_length {max_length}: {expected}")
        encode = self._tokenizer.encode_batch if offsets else self._tokenizer.encode_batch_fast
        enough = max_length if enough is None else enough
        for batch in in_batches(zip(texts) if pairs is None else zip(texts, pairs, strict=True)):
            if pairs is None:
                batch = [self._seams.beginning(text, enough, self._count_tokens) for (text,) in batch]
            if max_length is not None:
                self._tokenizer.enable_truncation(max_length)  # longest first is the library's default
            try:
                encodings = encode(batch)
            except TypeError as error:
                raise unusable_text([*texts, *(pairs or [])], error) from error
            finally:
                self._tokenizer.no_truncation()
            yield from encodings

    def _count_tokens(self, text: str) -> int:
        return len(self._tokenizer.encode_batch_fast([text])[0].ids)

    def special_count(self, *, pair: bool) -> int:
        """The number of special tokens around a text or a pair of texts."""
        return 2 + (self.separators if pair else 0)

    def lay_out(self, first: ArrayLike, second: ArrayLike | None = None) -> Encoding:
        """Put ids without special tokens, (a,) and (b,), between the special tokens that a call would add."""
        cls, sep = [self.cls_id], [self.sep_id]
        if second is None:
            ids, in_second = [cls, first, sep], 0
        else:
            ids = [cls, first, sep * self.separators, second, sep]
            in_second = (np.size(second) + 1) * self.second_segment  # B and the [SEP] after it
        joined = np.concatenate(ids).astype(np.int32)
        return Encoding(joined, len(joined) - in_second)

    def encode_plain(self, texts: list[str]) -> list[list[int]]:
        """Return each text's ids without special tokens, truncation or offsets. For large amounts of text.

        The text can't spell out a special token here: "[SEP]" in a corpus is the words "[", "sep", "]", so that no
        training sequence gets a separator in its middle.

        Raises InputError if a text is not valid Unicode.
        """
        return [each.ids for each in self._plain_encodings(texts, self._tokenizer.encode_batch_fast)]

    def encode_plain_with_offsets(self, texts: list[str]) -> list[tuple[list[int], list[tuple[int, int]]]]:
        """Encode like `encode_plain`; add the [start, end) characters of each token. Raises InputError as it does."""
        return [(each.ids, each.offsets) for each in self._plain_encodings(texts, self._tokenizer.encode_batch)]

    def _plain_encodings(self, texts: list[str], encode: Any) -> list[tokenizers.Encoding]:
        usual_model = self._tokenizer.model
        self._tokenizer.encode_special_tokens = True
        if self._plain_model is not None:
            self._tokenizer.model = self._plain_model
        try:
            return encode(texts, add_special_tokens=False)
        except TypeError as error:
            raise unusable_text(texts, error) from error
        finally:
            self._tokenizer.encode_special_tokens = False
            if self._plain_model is not None:
                self._tokenizer.model = usual_model

    def parts(self, text: str) -> list[str]:
        """Cut `text` at spaces into parts whose ids together are the text's. See `Seams`."""
        return self._seams.parts(text)

    def decode(self, ids: Iterable[int], *, skip_special_tokens: bool = True) -> str:
        """Return the text of `ids` (a list, array or 1-d tensor); white space and case lost in encoding stay lost.

        Raises IndexError if an id is outside the vocabulary.
        """
        return self._tokenizer.decode(self._checked(ids), skip_special_tokens=skip_special_tokens)

    def tokens(self, ids: Iterable[int]) -> list[str]:
        """Return the token of each id. Raises IndexError if an id is outside the vocabulary."""
        return [self._tokens[i] for i in self._checked(ids)]

    def token_to_id(self, token: str) -> int | None:
        """Return the id of a token as the vocabulary spells it ("##ing", "[MASK]"); None if it is not in it."""
        return self._tokenizer.token_to_id(token)

    def id_to_token(self, token_id: int) -> str:
        """Return the token of an id. Raises IndexError if it is outside the vocabulary."""
        return self.tokens([token_id])[0]

    def _checked(self, ids: Iterable[int]) -> list[int]:
        """Return ids as a list of ints, each in the vocabulary: the library would silently skip one that isn't."""
        checked, size = [int(i) for i in ids], self.vocab_size
        for i in checked:
            if not 0 <= i < size:
                raise IndexError(f"token id {i}: expected 0 to {size - 1}")
        return checked

    def encode_words(self, words: Sequence[str]) -> list[list[int]]:
        """Return the ids of each word as in running text; special tokens are recognised."""
        encodings = self._tokenizer.encode_batch_fast(in_running_text(words), add_special_tokens=False)
        return [each.ids for each in encodings]

    def add_tokens(self, words: Sequence[str]) -> int:
        """Make each word one token; return the number of new ids (a word that already is one token adds none).

        A word is normalised first (COVID becomes covid if the tokenizer lower-cases) and is then found between word
        boundaries only, so that "cat" does not split "concatenate". A word with Chinese characters or kana is found
        exactly as written, anywhere, since such text has no spaces.

        Raises InputError, adding nothing, if a word is empty, spans lines, begins with "##" or is not valid Unicode.
        """
        before = self.vocab_size
        written = [self.as_found_in_text(word) for word in words]
        pieces = self.encode_words(written)
        known = {word for word, ids in zip(written, pieces, strict=True) if len(ids) == 1 and ids != [self.unk_id]}
        # All at once: the library rebuilds its search for added words at every call.
        self._tokenizer.add_tokens([self._added_word(word) for word in written if word not in known])
        self._know_tokens()
        return self.vocab_size - before

    def _added_word(self, word: str) -> AddedToken:
        unspaced = UNSPACED.search(word) is not None
        # Normalisation puts spaces around every ideograph, so an unspaced word is searched for in the text as written.
        # In BPE a space belongs to the word after it: the added word must take it, or it would become a piece.
        return AddedToken(
            word, special=False, single_word=not unspaced, normalized=not unspaced, lstrip=self.kind == "bpe"
        )

    def as_found_in_text(self, word: str) -> str:
        """Return a word to add as it goes into the vocabulary: normalised, unless it is unspaced or a special token.

        Raises InputError as `add_tokens` does.
        """
        if word in self.special_tokens:
            return word
        if LONE_SURROGATE.search(word):
            raise InputError(f"token to add {word!r}: expected Unicode text, found a lone surrogate")
        one_line = len(word.splitlines()) == 1
        normalizer = None if UNSPACED.search(word) else self._tokenizer.normalizer
        written = (word if normalizer is None else normalizer.normalize_str(word)).strip()
        if not written or not one_line or (self.kind == "wordpiece" and written.startswith(CONTINUATION)):
            expected = " that does not begin with ##" if self.kind == "wordpiece" else ""
            raise InputError(f"token to add {word!r}: expected a word on one line{expected}")
        return written

    @property
    def vocab_size(self) -> int:
        """The number of tokens V, including added ones; ids are 0 to V - 1."""
        return len(self._tokens)

    @property
    def max_word_chars(self) -> int | None:
        """The most characters that a word may have before it becomes [UNK] as a whole; None if there is no limit."""
        return self._tokenizer.model.max_input_chars_per_word if self.kind == "wordpiece" else None

    @property
    def add_prefix_space(self) -> bool:
        """Whether the first word of a text is cut into pieces as if a space came before it."""
        return self.kind == "unigram" or (self.kind == "bpe" and self._tokenizer.pre_tokenizer.add_prefix_space)

    @property
    def continuation_mask(self) -> np.ndarray:
        """(V,) bool: whether each piece continues a word ("##ing"). See `Vocabulary.goes_on`."""
        return np.array(
            [i not in self._added_ids and self._class.goes_on(token) for i, token in enumerate(self._tokens)]
        )

    @property
    def byte_lengths(self) -> np.ndarray:
        """(V,) int64: the number of UTF-8 bytes of text that each token stands for; 0 for the five special tokens.

        The space before a word is not counted, since only some kinds have it in their pieces: losses per byte can then
        be compared across vocabularies. Text counts as it is after normalisation.
        """
        lengths = [
            len(token.encode()) if i in self._added_ids else self._class.byte_length(token)
            for i, token in enumerate(self._tokens)
        ]
        return np.where(np.isin(self._tokens, self.special_tokens), 0, lengths)

    def shown(self, token_id: int) -> str:
        """Return a token in readable form: bytes as the characters that they encode, the space before a word as "▁".

        A part of a character, or one that can't be printed (a line end), stays as the vocabulary spells it.

        Raises IndexError if the id is outside the vocabulary.
        """
        token = self.id_to_token(token_id)
        if self.kind != "bpe" or token_id in self._added_ids:
            return token
        characters = self._class.characters(token)
        readable = CUT_CHARACTER not in characters and characters.isprintable()
        return characters.replace(" ", SPACE_MARK) if readable else token

    @property
    def fingerprint(self) -> str:
        """The sha256 (hex) of everything that decides a text's ids: the same for equal tokenizers, also once saved."""
        content = json.loads(self._tokenizer.to_str())
        decisive = {key: content[key] for key in ("added_tokens", "normalizer", "pre_tokenizer", "model")}
        canonical = json.dumps(decisive, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()
