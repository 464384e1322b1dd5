"""Train a vocabulary, load one, turn texts into ids, and ids back into text.

The pieces come from the `tokenizers` library; what is added here is a vocabulary that is the same whenever it is
trained on the same text, the files of a model directory, and a typed batch. In what BERT's tokenizer and its relatives'
differ is declared in `minibert.tokenizer.vocabulary`. Source of [CLS] A [SEP] B [SEP]: Devlin et al. 2018, section 3.
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
    """Made by `Tokenizer.train` or `Tokenizer.load`, called to encode.

    The five special tokens are recognised wherever a text spells them out, lower-casing or not: `[MASK]` is one token.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.kind = vocabulary.kind  # "wordpiece" (BERT), "bpe" (byte-level: RoBERTa) or "unigram" (ALBERT)
        self.normalization = vocabulary.normalization
        self.special_tokens = vocabulary.special_tokens  # as they are spelled
        self.separators = vocabulary.separators  # [SEP] between two texts: 1, or 2
        self.second_segment = vocabulary.second_segment  # token_type_id of the second text: 1, or 0 as of the first
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
        """Learn a vocabulary of exactly `vocab_size` tokens, or fewer where the text has no more to give.

        The special tokens have ids 0 to 4. Of WordPiece then come the single characters, those that go on with a word
        (##c), and the merged pieces in the order in which they were learned; of byte-level BPE the 256 bytes and the
        merged pieces; of the unigram model the pieces by their probability. The same text gives the same vocabulary in
        every process (see `minibert.tokenizer.learning`).

        `lowercase` None means yes, `strip_accents` None: as `lowercase`, `chinese_chars` None: WordPiece alone makes
        each ideograph a word. Byte-level BPE keeps the text as it is. Memory is bounded: texts are streamed, and when
        more than `max_words` different words have been counted, only the more frequent half is kept (ties in the order
        of the words). That leaves alone what becomes a piece, as long as `max_words` is many times `vocab_size`; None:
        six times, and 50,000 at least.

        Raises InputError: `vocab_size` has no room for a character, `max_words` under 2, no word in the texts, an
        option that the kind does not have.
        """
        normalization = normalization_for(kind, lowercase, strip_accents, chinese_chars)
        most = max(50_000, 6 * vocab_size) if max_words is None else max_words
        return cls(learn_vocabulary(texts, kind, normalization, vocab_size, most))

    @classmethod
    def load(cls, path: str | Path) -> Tokenizer:
        """Read a directory or one file of it: `tokenizer.json` (preferred), `vocab.txt` (WordPiece), `vocab.json` with
        `merges.txt` beside it (byte-level BPE), or `spiece.model` (the unigram model).

        A `tokenizer_config.json` beside it may set `do_lower_case`, `strip_accents` and `tokenize_chinese_chars`,
        `keep_accents`, or `add_prefix_space`; what it sets wins over `tokenizer.json`, as in transformers (what it
        leaves open does not: transformers would take its own defaults). Added tokens and further special ones are read
        from it too, or from `added_tokens.json` and `special_tokens_map.json`. A bare `vocab.txt` whose tokens contain
        a word with upper-case letters is cased, any other lower-cases. Truncation, padding and the post-processor that
        a `tokenizer.json` carries are left out: every call of ours says what it wants.

        Where no file says how, <mask> and ALBERT's [MASK] take the space before them, as these models were trained;
        transformers 5 then does not. Nor does it read a bare `spiece.model` as ALBERT was trained; see
        `minibert.tokenizer.spiece`.

        Raises InputError, naming the file: missing, not UTF-8, not parseable, pieces or a normaliser of another kind,
        another class of tokenizer, other special tokens than the kind's five or fewer, a token twice, ids with gaps.
        """
        check_path(path)
        return cls(read_vocabulary(Path(path)))

    def save(self, directory: str | Path) -> None:
        """Write `tokenizer.json` (all there is to know) and for WordPiece `vocab.txt` (a token a line, added ones too).

        The same tokenizer gives the same bytes. `vocab.txt` alone carries no options, and finds an added word
        only where it stands between spaces.
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

        Longer than `max_length` tokens (special ones counted) is cut, the longer text of a pair first, as
        transformers' fast tokenizers do.

        Raises InputError: no text, texts and pairs of different number, `max_length` without room for one token
        beside the special ones, `pad_to="max_length"` without `max_length`, a text that is not valid Unicode.
        """
        import torch  # here: the worker processes of `pretrain prepare` have no use for it

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
        # None: put there by the template, which a special token that a text spells is not.
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
        """The rows of a call, one by one and without padding: for many texts. Raises InputError, as a call."""
        for each in self._encodings(texts, pairs, max_length=max_length):
            ids = np.array(each.ids, np.int32)
            yield Encoding(ids, len(ids) - sum(each.type_ids))

    def encode_with_offsets(self, texts: Sequence[str]) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int64]]]:
        """Each text's own ids (T,), [CLS] and [SEP] left out, and the [start, end) characters of each token, (T, 2).

        Raises InputError, as a call.
        """
        for each in self._encodings(texts, offsets=True):
            yield np.array(each.ids, np.int32)[1:-1], np.array(each.offsets)[1:-1]

    def encode_whole(self, texts: Sequence[str], *, tokens: int | None = None) -> Iterator[list[int]]:
        """The ids of `encode`, which cuts none here. Raises InputError on text that is not valid Unicode.

        tokens: of a long text only a beginning of more tokens than this need be given; None: all of it.
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
        """The library's, with `offsets` or faster; of long texts those of a beginning with more than `enough` tokens.

        Raises InputError, as a call.
        """
        if pairs is not None and len(pairs) != len(texts):
            raise InputError(f"{len(texts)} texts but {len(pairs)} pairs: expected as many of both")
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
        """How many special tokens frame a text, or a pair of texts."""
        return 2 + (self.separators if pair else 0)

    def lay_out(self, first: ArrayLike, second: ArrayLike | None = None) -> Encoding:
        """Ids of text alone, (a,) and (b,), between the special tokens that a call puts round texts."""
        cls, sep = [self.cls_id], [self.sep_id]
        if second is None:
            ids, in_second = [cls, first, sep], 0
        else:
            ids = [cls, first, sep * self.separators, second, sep]
            in_second = (np.size(second) + 1) * self.second_segment  # B and the [SEP] behind it
        joined = np.concatenate(ids).astype(np.int32)
        return Encoding(joined, len(joined) - in_second)

    def encode_plain(self, texts: list[str]) -> list[list[int]]:
        """Ids of the text alone, a list a text: no special tokens, no truncation, no offsets. For much text.

        Here the text cannot spell a special token: "[SEP]" in a corpus is the words "[", "sep", "]", so that no
        training sequence gets a separator in its middle. Raises InputError on text that is not valid Unicode.
        """
        return [each.ids for each in self._plain_encodings(texts, self._tokenizer.encode_batch_fast)]

    def encode_plain_with_offsets(self, texts: list[str]) -> list[tuple[list[int], list[tuple[int, int]]]]:
        """`encode_plain`, each text's ids with the [start, end) characters of each token. Raises InputError as that."""
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
        """`text` in parts between spaces: the ids of the parts are those of the text. See `Seams`."""
        return self._seams.parts(text)

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

    def encode_words(self, words: Sequence[str]) -> list[list[int]]:
        """The ids of each word as it stands in running text, special tokens recognised."""
        encodings = self._tokenizer.encode_batch_fast(in_running_text(words), add_special_tokens=False)
        return [each.ids for each in encodings]

    def add_tokens(self, words: Sequence[str]) -> int:
        """Make each word one token from now on; returns how many ids are new (a word that is one already adds none).

        A word is normalised first (COVID becomes covid where everything is lower-cased) and then found between
        word bounds, so that "cat" leaves "concatenate" alone; a word with Chinese characters or kana is found
        exactly as written, anywhere, since such text has no spaces.

        Raises InputError, and adds nothing: a word that is empty, spans lines, begins with "##" or is no valid Unicode.
        """
        before = self.vocab_size
        written = [self.as_found_in_text(word) for word in words]
        pieces = self.encode_words(written)
        known = {word for word, ids in zip(written, pieces, strict=True) if len(ids) == 1 and ids != [self.unk_id]}
        # All at once: at every call the library prepares its search for added words anew.
        self._tokenizer.add_tokens([self._added_word(word) for word in written if word not in known])
        self._know_tokens()
        return self.vocab_size - before

    def _added_word(self, word: str) -> AddedToken:
        unspaced = UNSPACED.search(word) is not None
        # Normalisation puts spaces round every ideograph, so an unspaced word is looked for in the text as written.
        # Where a space belongs to the word behind it, the added word has to take it, or it would be left as a piece.
        return AddedToken(
            word, special=False, single_word=not unspaced, normalized=not unspaced, lstrip=self.kind == "bpe"
        )

    def as_found_in_text(self, word: str) -> str:
        """A word to add as the vocabulary has it: normalised; as written where it is unspaced or a special token.

        Raises InputError, as `add_tokens`.
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
        """Number of tokens, added ones included; ids are 0 to this - 1."""
        return len(self._tokens)

    @property
    def max_word_chars(self) -> int | None:
        """A word of more characters is [UNK] as a whole; None: however long it is, it is cut into pieces."""
        return self._tokenizer.model.max_input_chars_per_word if self.kind == "wordpiece" else None

    @property
    def add_prefix_space(self) -> bool:
        """Whether the first word of a text is cut as one that has a space before it (byte-level BPE)."""
        return self.kind == "unigram" or (self.kind == "bpe" and self._tokenizer.pre_tokenizer.add_prefix_space)

    @property
    def continuation_mask(self) -> np.ndarray:
        """(V,) bool: True where the piece goes on with a word ("##ing"). See `Vocabulary.goes_on`."""
        return np.array(
            [i not in self._added_ids and self._class.goes_on(token) for i, token in enumerate(self._tokens)]
        )

    @property
    def byte_lengths(self) -> np.ndarray:
        """(V,) int64: the UTF-8 bytes of the text that each token stands for; 0 of the special five.

        The space before a word is not counted, as only some kinds have it in their pieces: a loss over these bytes
        compares vocabularies. What normalisation changes is counted as it is after it.
        """
        lengths = [
            len(token.encode()) if i in self._added_ids else self._class.byte_length(token)
            for i, token in enumerate(self._tokens)
        ]
        return np.where(np.isin(self._tokens, self.special_tokens), 0, lengths)

    def shown(self, token_id: int) -> str:
        """A token as people read it: bytes as the characters that they are, and a space before a word as "▁".

        What is only a part of a character, or can't be printed (the end of a line), stays as the vocabulary spells it.
        Raises IndexError outside the vocabulary.
        """
        token = self.id_to_token(token_id)
        if self.kind != "bpe" or token_id in self._added_ids:
            return token
        characters = self._class.characters(token)
        readable = CUT_CHARACTER not in characters and characters.isprintable()
        return characters.replace(" ", SPACE_MARK) if readable else token

    @property
    def fingerprint(self) -> str:
        """sha256 (hex) of all that decides which ids a text gets: equal for equal tokenizers, after saving too."""
        content = json.loads(self._tokenizer.to_str())
        decisive = {key: content[key] for key in ("added_tokens", "normalizer", "pre_tokenizer", "model")}
        canonical = json.dumps(decisive, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()
