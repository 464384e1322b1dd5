"""The tokenizer: encoding, by hand; added words; files; what bad input gets. Against transformers': the file beside."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from minibert.errors import InputError
from minibert.tokenizer import Tokenizer, long_texts
from minibert.tokenizer.batch import pad

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SMALL = [*SPECIALS, "the", "man", "went", "##s", "to"]  # ids 5 to 9
SMALL += ["buy", "##ing", "cafe", "n", "##o", ".", "milk"]  # 10 to 16
SMALL += ["中", "国", "人", ",", "a", "##b", "b", "##a"]  # 17 to 24


def write_vocab(directory: Path, tokens: list[str], **config: Any) -> Path:
    """A directory with vocab.txt and, where options are given, tokenizer_config.json."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8", newline="\n")
    if config:
        (directory / "tokenizer_config.json").write_text(json.dumps(config))
    return directory


def small(tmp_path: Path) -> Tokenizer:
    return Tokenizer.load(write_vocab(tmp_path / "small", SMALL))


# --- Encoding, by hand -----------------------------------------------------------------------------------------------


def test_one_text(tmp_path: Path) -> None:
    batch = small(tmp_path)("The MAN went to the [MASK].")
    assert batch.input_ids.tolist() == [[2, 5, 6, 7, 9, 5, 4, 15, 3]]
    assert batch.offsets[0].tolist() == [
        [0, 0],
        [0, 3],
        [4, 7],
        [8, 12],
        [13, 15],
        [16, 19],
        [20, 26],
        [26, 27],
        [0, 0],
    ]
    assert batch.special_tokens_mask.int().tolist() == [[1, 0, 0, 0, 0, 0, 1, 0, 1]]
    assert batch.token_type_ids.tolist() == [[0] * 9]
    assert batch.lengths.tolist() == [9]


def test_a_batch_of_pairs_is_padded_to_the_longest(tmp_path: Path) -> None:
    batch = small(tmp_path)(["the man", "a"], ["buying milk .", "zzz"])
    assert batch.input_ids.tolist() == [[2, 5, 6, 3, 10, 11, 16, 15, 3], [2, 21, 3, 1, 3, 0, 0, 0, 0]]
    assert batch.token_type_ids.tolist() == [[0, 0, 0, 0, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 0, 0, 0, 0]]
    assert batch.attention_mask.int().tolist() == [[1] * 9, [1] * 5 + [0] * 4]
    assert batch.special_tokens_mask.int().tolist() == [[1, 0, 0, 1, 0, 0, 0, 0, 1], [1, 0, 1, 0, 1, 1, 1, 1, 1]]
    assert batch.lengths.tolist() == [9, 5]
    assert len(batch) == 2


def test_padding_to_max_length(tmp_path: Path) -> None:
    batch = small(tmp_path)(["the", "the man"], max_length=6, pad_to="max_length")
    assert batch.input_ids.tolist() == [[2, 5, 3, 0, 0, 0], [2, 5, 6, 3, 0, 0]]


def test_truncation_takes_from_the_longer_text_first(tmp_path: Path) -> None:
    tokenizer = small(tmp_path)
    assert tokenizer(["the man went to buy"], max_length=4).input_ids.tolist() == [[2, 5, 6, 3]]
    batch = tokenizer(["the man went to buy"], ["milk ."], max_length=7)
    assert batch.input_ids.tolist() == [[2, 5, 6, 3, 16, 15, 3]]
    # A call's maximum does not stay behind.
    assert tokenizer(["the man went to buy"]).input_ids.shape == (1, 7)


@pytest.mark.parametrize("paired", [False, True])
def test_encoding_many_texts_gives_the_rows_of_a_call_without_padding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paired: bool
) -> None:
    tokenizer = small(tmp_path)
    texts = ["the man", "", "a the [SEP] man went to buy milk .", "中国人", "buying [MASK]", "[PAD]"]
    pairs = ["", "milk", "the", "buy the cafe", "zzz", "to"] if paired else None
    batch = tokenizer(texts, pairs, max_length=7)
    monkeypatch.setattr(long_texts, "TEXTS_AT_ONCE", 4)
    encodings = list(tokenizer.encode(texts, pairs, max_length=7))
    assert [len(each.ids) for each in encodings] == batch.lengths.tolist()
    assert pad([each.ids for each in encodings], tokenizer.pad_id).tolist() == batch.input_ids.tolist()
    assert [len(each.ids) - each.second for each in encodings] == batch.token_type_ids.sum(1).tolist()
    assert max(batch.lengths) == 7 and batch.special_tokens_mask.any() and (batch.token_type_ids.sum() > 0) == paired
    with pytest.raises(InputError, match="2 texts but 1 pairs"):
        list(tokenizer.encode(["a", "b"], ["c"]))
    assert list(tokenizer.encode([])) == []


def test_a_text_that_cannot_be_encoded_is_named_by_its_number_among_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(long_texts, "TEXTS_AT_ONCE", 2)
    found = small(tmp_path).encode(["the", "man", "went", "a \ud800"])
    assert [len(next(found).ids), len(next(found).ids)] == [3, 3]
    with pytest.raises(InputError, match="text 4, character 2: expected Unicode text"):
        next(found)


def test_encoding_with_offsets_leaves_the_special_tokens_round_a_text_out(tmp_path: Path) -> None:
    tokenizer = small(tmp_path)
    texts = ["The mans [MASK].", "", "中国"]
    batch = tokenizer(texts)
    for row, (ids, offsets) in enumerate(tokenizer.encode_with_offsets(texts)):
        inside = slice(1, int(batch.lengths[row]) - 1)
        assert ids.tolist() == batch.input_ids[row, inside].tolist()
        assert offsets.shape == (len(ids), 2)
        assert offsets.tolist() == batch.offsets[row, inside].tolist()


def test_dtypes_and_device(tmp_path: Path) -> None:
    batch = small(tmp_path)(["the", "a"]).to("cpu")
    for tensor in (batch.input_ids, batch.token_type_ids, batch.offsets, batch.lengths):
        assert tensor.dtype == torch.int64
    assert batch.attention_mask.dtype == batch.special_tokens_mask.dtype == torch.bool
    assert batch.offsets.shape == (2, 3, 2)


def test_chinese_is_split_by_character(tmp_path: Path) -> None:
    assert small(tmp_path).encode_plain(["中国人a中"]) == [[17, 18, 19, 21, 17]]


def test_cased_keeps_case_and_accents(tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(write_vocab(tmp_path, [*SPECIALS, "The", "the", "Man", "man", "café", "cafe"]))
    tokens = tokenizer.tokens(tokenizer.encode_plain(["The Man the café cafe MAN"])[0])
    assert tokens == ["The", "Man", "the", "café", "cafe", "[UNK]"]


def test_plain_encoding_cannot_be_given_special_tokens(tmp_path: Path) -> None:
    tokenizer = small(tmp_path)
    assert tokenizer.encode_plain(["the [SEP] man", "[MASK]", ""]) == [[5, 1, 1, 1, 6], [1, 1, 1], []]
    assert tokenizer("[MASK]").input_ids.tolist() == [[2, 4, 3]]


def test_decoding(tmp_path: Path) -> None:
    tokenizer = small(tmp_path)
    ids = tokenizer("the mans , buying .").input_ids[0]
    assert tokenizer.decode(ids) == "the mans, buying."
    assert tokenizer.decode([2, 5, 4, 3], skip_special_tokens=False) == "[CLS] the [MASK] [SEP]"


def test_looking_up(tmp_path: Path) -> None:
    tokenizer = small(tmp_path)
    assert tokenizer.token_to_id("##ing") == 11
    assert tokenizer.token_to_id("dog") is None
    assert tokenizer.id_to_token(11) == "##ing"
    assert tokenizer.vocab_size == 25
    assert np.flatnonzero(tokenizer.continuation_mask).tolist() == [8, 11, 14, 22, 24]


@pytest.mark.parametrize("token_id", [-1, 25])
def test_ids_outside_the_vocabulary_are_refused(tmp_path: Path, token_id: int) -> None:
    tokenizer = small(tmp_path)
    with pytest.raises(IndexError, match="0 to 24"):
        tokenizer.id_to_token(token_id)
    with pytest.raises(IndexError, match="0 to 24"):
        tokenizer.decode([5, token_id])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "empty batch"),
        ((["a", "b"], ["c"]), "2 texts but 1 pairs"),
        ((["a \ud800"],), "text 1, character 2: expected Unicode text"),
        ((["a"], [3]), "text 2: expected a string, found int"),
    ],
)
def test_bad_batches(tmp_path: Path, arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        small(tmp_path)(*arguments)


def test_max_length_must_hold_a_token(tmp_path: Path) -> None:
    tokenizer = small(tmp_path)
    with pytest.raises(InputError, match="max_length 2: expected at least 3"):
        tokenizer(["a"], max_length=2)
    with pytest.raises(InputError, match="max_length 3: expected at least 4"):
        tokenizer(["a"], ["b"], max_length=3)
    with pytest.raises(InputError, match="expected a max_length"):
        tokenizer(["a"], pad_to="max_length")


# --- Added words -----------------------------------------------------------------------------------------------------


def test_added_words_are_one_token_and_survive_saving(tmp_path: Path) -> None:
    tokenizer = small(tmp_path)
    assert tokenizer.add_tokens(["新冠病毒", "COVID", "man", "新冠病毒", "Naïve"]) == 3
    assert tokenizer.vocab_size == 28
    tokenizer.save(tmp_path / "saved")
    text = "人新冠病毒人 Covid naïve, covids covidman"
    for each in (tokenizer, Tokenizer.load(tmp_path / "saved")):
        tokens = each.tokens(each.encode_plain([text])[0])
        assert tokens == ["人", "新冠病毒", "人", "covid", "naive", ",", "[UNK]", "[UNK]"]
        assert each(text).offsets[0, 1:4].tolist() == [[0, 1], [1, 5], [5, 6]]
        assert each.decode(each.encode_plain([text])[0][:4]) == "人 新冠病毒 人 covid"
        assert not each.continuation_mask[-3:].any()
    assert (tmp_path / "saved" / "vocab.txt").read_text(encoding="utf-8").split("\n")[-4:] == [
        "新冠病毒",
        "covid",
        "naive",
        "",
    ]


@pytest.mark.parametrize("word", ["", "  ", "two\nlines", "新\n冠", "##piece", "\x00"])
def test_words_that_cannot_be_added(tmp_path: Path, word: str) -> None:
    tokenizer = small(tmp_path)
    with pytest.raises(InputError, match="expected a word on one line"):
        tokenizer.add_tokens(["dog", word])
    assert tokenizer.vocab_size == 25


# --- Files -----------------------------------------------------------------------------------------------------------


def test_saving_and_loading_changes_nothing(tmp_path: Path) -> None:
    tokenizer = small(tmp_path)
    tokenizer.save(tmp_path / "one")
    again = Tokenizer.load(tmp_path / "one")
    again.save(tmp_path / "two")
    assert again.fingerprint == tokenizer.fingerprint
    assert again.normalization == tokenizer.normalization
    for name in ("tokenizer.json", "vocab.txt"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert (tmp_path / "one" / "vocab.txt").read_bytes() == (tmp_path / "small" / "vocab.txt").read_bytes()
    assert Tokenizer.load(tmp_path / "one" / "tokenizer.json").fingerprint == tokenizer.fingerprint


def test_a_tokenizer_can_be_sent_to_another_process(tmp_path: Path) -> None:
    tokenizer = small(tmp_path)
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert copy.fingerprint == tokenizer.fingerprint
    assert copy.encode_plain(["the man"]) == [[5, 6]]


def test_the_fingerprint_tells_tokenizers_apart(tmp_path: Path) -> None:
    directories = [
        write_vocab(tmp_path / "plain", SMALL),
        write_vocab(tmp_path / "cased", SMALL, do_lower_case=False),
        write_vocab(tmp_path / "accents", SMALL, strip_accents=False),
        write_vocab(tmp_path / "chinese", SMALL, tokenize_chinese_chars=False),
        write_vocab(tmp_path / "token", [*SMALL[:-1], "##c"]),
        write_vocab(tmp_path / "order", [*SMALL[:-2], "##a", "b"]),
    ]
    tokenizers = [Tokenizer.load(directory) for directory in directories]
    added = Tokenizer.load(directories[0])
    added.add_tokens(["dog"])
    assert len({each.fingerprint for each in [*tokenizers, added]}) == 7
    # What is only spelled out makes no difference.
    spelled = write_vocab(tmp_path / "spelled", SMALL, do_lower_case=True, strip_accents=None)
    assert Tokenizer.load(spelled).fingerprint == tokenizers[0].fingerprint


def test_importing_and_plain_encoding_need_no_torch(tmp_path: Path) -> None:
    directory = write_vocab(tmp_path, SMALL)
    code = (
        "import sys; from minibert.tokenizer import Tokenizer; t = Tokenizer.load(sys.argv[1]);"
        "t.encode_plain(['the']); print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code, str(directory)], capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"
