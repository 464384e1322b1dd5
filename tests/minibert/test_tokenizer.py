"""The tokenizer: ids, offsets and truncation equal transformers'; files; added words; what bad input gets."""

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
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert.errors import InputError
from minibert.tokenizer import Tokenizer

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SMALL = [*SPECIALS, "the", "man", "went", "##s", "to"]  # ids 5 to 9
SMALL += ["buy", "##ing", "cafe", "n", "##o", ".", "milk"]  # 10 to 16
SMALL += ["中", "国", "人", ",", "a", "##b", "b", "##a"]  # 17 to 24
VOCAB_FILES = Path(__file__).resolve().parents[3] / "shared" / "data" / "vocab"
STRINGS = [
    "The man went to the [MASK] .",
    "he bought milk, unaffable!",
    "Café CAFÉ cafe\u0301 naïve İstanbul ﬁne Straße ΑΣ",
    "中国人的café去buy milk。",
    "I'm [MASK][MASK] [sep] [SEP]x[CLS] [UNK] [PAD]",
    "emoji 👩‍👩‍👧 🇨🇳 e\u0301\u0301\u0327 한국어 ไทย हिन्दी",
    "tabs\tand\nlines\r\nand\u00a0spaces\u3000\u2028\u200b\u00ad\x00\x07\ufffd end",
    "x" * 101 + " " + "y" * 100,
    "",
    " \t ",
]


def write_vocab(directory: Path, tokens: list[str], **config: Any) -> Path:
    """A directory with vocab.txt and, where options are given, tokenizer_config.json."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8", newline="\n")
    if config:
        (directory / "tokenizer_config.json").write_text(json.dumps(config))
    return directory


def small(tmp_path: Path) -> Tokenizer:
    return Tokenizer.load(write_vocab(tmp_path / "small", SMALL))


def reference_tokenizer(directory: Path) -> Any:
    transformers = pytest.importorskip("transformers")
    return transformers.BertTokenizerFast.from_pretrained(directory)


def assert_same(ours: Tokenizer, reference: Any, texts: list[str], pairs: list[str] | None, max_length: int) -> None:
    batch = ours(texts, pairs, max_length=max_length)
    expected = reference(
        texts,
        pairs,
        truncation="longest_first",
        max_length=max_length,
        padding="longest",
        return_offsets_mapping=True,
        return_tensors="pt",
    )
    assert batch.input_ids.tolist() == expected["input_ids"].tolist()
    assert batch.token_type_ids.tolist() == expected["token_type_ids"].tolist()
    assert batch.attention_mask.long().tolist() == expected["attention_mask"].tolist()
    assert batch.offsets.tolist() == expected["offset_mapping"].tolist()


# --- Parity with transformers ----------------------------------------------------------------------------------------

OPTIONS: list[dict[str, Any]] = [
    {"do_lower_case": True},
    {"do_lower_case": False},
    {"do_lower_case": True, "strip_accents": False},
    {"do_lower_case": False, "strip_accents": True, "tokenize_chinese_chars": False},
]


def learned_directory(directory: Path, options: dict[str, Any]) -> Path:
    """A vocabulary learned, cased, from this file's strings: short pieces, accents and all scripts among them."""
    Tokenizer.train(STRINGS * 2, vocab_size=260, lowercase=False).save(directory / "learned")
    tokens = (directory / "learned" / "vocab.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    return write_vocab(directory / "with_options", tokens, **options)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_ids_and_offsets_equal_transformers(tmp_path: Path, options: dict[str, Any]) -> None:
    directory = learned_directory(tmp_path, options)
    ours, reference = Tokenizer.load(directory), reference_tokenizer(directory)
    assert_same(ours, reference, STRINGS, None, 512)
    for max_length in (4, 5, 8, 13, 40):
        assert_same(ours, reference, STRINGS, STRINGS[::-1], max_length)


WORDS = ["[MASK]", "[SEP]", "café", "Man", "中国", " ", "\u0301", "İ", "the", "👩‍👧", "\x00", "ing", "."]
MIXED = st.lists(st.sampled_from(WORDS) | st.text(max_size=8), max_size=12).map("".join)


@pytest.mark.parametrize("lowercase", [True, False])
def test_generated_text_equals_transformers(tmp_path: Path, lowercase: bool) -> None:
    directory = learned_directory(tmp_path, {"do_lower_case": lowercase})
    ours, reference = Tokenizer.load(directory), reference_tokenizer(directory)

    @settings(max_examples=120, deadline=None, derandomize=True, database=None)
    @given(texts=st.lists(st.tuples(MIXED, MIXED), min_size=1, max_size=3), max_length=st.integers(4, 30))
    def check(texts: list[tuple[str, str]], max_length: int) -> None:
        first, second = map(list, zip(*texts, strict=True))
        assert_same(ours, reference, first, None, max_length)
        assert_same(ours, reference, first, second, max_length)

    check()


@pytest.mark.parametrize("name", ["uncased", "cased", "chinese", "multilingual-cased"])
def test_published_vocabularies_equal_transformers(tmp_path: Path, name: str) -> None:
    source = VOCAB_FILES / f"bert-base-{name}-vocab.txt"
    if not source.is_file():
        pytest.skip(f"{source} is missing (shared data of the project's developers)")
    ours = Tokenizer.load(source)
    assert ours.normalization.lowercase == (name in ("uncased", "chinese"))
    assert (ours.pad_id, ours.unk_id, ours.cls_id, ours.sep_id, ours.mask_id) == (0, 100, 101, 102, 103)
    tokens = source.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    directory = write_vocab(tmp_path, tokens, do_lower_case=ours.normalization.lowercase)
    reference = reference_tokenizer(directory)
    assert_same(ours, reference, STRINGS, None, 512)
    assert_same(ours, reference, STRINGS, STRINGS[::-1], 12)
    text = "A wonderful 2019 café, 中国 新冠病毒; #hashtag ##ing"
    ids = ours(text).input_ids[0].tolist()
    assert ours.decode(ids) == reference.decode(ids, skip_special_tokens=True)


def test_added_words_equal_transformers_after_saving(tmp_path: Path) -> None:
    ours = small(tmp_path)
    ours.add_tokens(["COVID", "新冠"])
    ours.save(tmp_path / "saved")
    (tmp_path / "saved" / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    reference = reference_tokenizer(tmp_path / "saved")
    assert_same(ours, reference, ["covid COVID covids 人新冠人", "the man"], None, 32)


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


def test_lower_casing_is_read_off_a_bare_vocabulary(tmp_path: Path) -> None:
    assert Tokenizer.load(write_vocab(tmp_path / "a", SMALL)).normalization.lowercase
    assert not Tokenizer.load(write_vocab(tmp_path / "b", [*SMALL, "Man"])).normalization.lowercase
    assert not Tokenizer.load(write_vocab(tmp_path / "c", [*SMALL, "##É"])).normalization.lowercase
    # [unused1] or <S> are no words: the Chinese vocabulary has such and is lower-cased.
    assert Tokenizer.load(write_vocab(tmp_path / "d", [*SMALL, "<S>", "[UNUSED]"])).normalization.lowercase


def test_vocab_lines_end_where_the_file_says(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_bytes("\r\n".join([*SMALL, "\u2028"]).encode())
    assert Tokenizer.load(tmp_path / "vocab.txt").vocab_size == 26


def tokenizer_json(tmp_path: Path) -> dict[str, Any]:
    small(tmp_path).save(tmp_path / "saved")
    return json.loads((tmp_path / "saved" / "tokenizer.json").read_text(encoding="utf-8"))


def test_truncation_and_padding_in_the_file_are_taken_out(tmp_path: Path) -> None:
    content = tokenizer_json(tmp_path)
    content["truncation"] = {"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    sides = {"strategy": {"Fixed": 9}, "direction": "Left", "pad_to_multiple_of": None}
    content["padding"] = sides | {"pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"}
    content["post_processor"] = None
    path = tmp_path / "other.json"
    path.write_text(json.dumps(content))
    tokenizer = Tokenizer.load(path)
    assert tokenizer(["the man went to", "a"]).input_ids.tolist() == [[2, 5, 6, 7, 9, 3], [2, 21, 3, 0, 0, 0]]
    assert tokenizer.fingerprint == small(tmp_path).fingerprint


def test_tokenizer_config_wins_over_tokenizer_json(tmp_path: Path) -> None:
    tokenizer_json(tmp_path)
    (tmp_path / "saved" / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    normalization = Tokenizer.load(tmp_path / "saved").normalization
    assert (normalization.lowercase, normalization.strip_accents) == (False, True)


BROKEN: list[tuple[str, str, Any, str]] = [
    # what is changed, in which part of the file, to what, and what the message says
    ("type", "model", "BPE", "model.type: expected 'WordPiece', found 'BPE'"),
    ("unk_token", "model", "<unk>", "model.unk_token"),
    ("vocab", "model", {"[UNK]": "0"}, "model.vocab"),
    ("vocab", "model", {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 9}, "ids from 0 on"),
    ("vocab", "model", {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 3}, "ids from 0 on"),
    ("vocab", "model", {**{token: i for i, token in enumerate(SMALL)}, "a\nb": 25}, "spans lines"),
    ("max_input_chars_per_word", "model", "many", "max_input_chars_per_word"),
    ("type", "normalizer", "NFKC", "normalizer.type"),
    ("lowercase", "normalizer", 1, "do_lower_case: expected true or false"),
    ("type", "pre_tokenizer", "Whitespace", "pre_tokenizer.type"),
    ("model", "", None, "model: expected an object"),
    ("added_tokens", "", [{"id": 5}], "added_tokens"),
    ("added_tokens", "", 7, "added_tokens"),
]


@pytest.mark.parametrize(("key", "part", "value", "message"), BROKEN, ids=[b[3] for b in BROKEN])
def test_broken_tokenizer_json(tmp_path: Path, key: str, part: str, value: Any, message: str) -> None:
    content = tokenizer_json(tmp_path)
    (content[part] if part else content)[key] = value
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message) as error:
        Tokenizer.load(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1: expected a token, found an empty line"),
        (b"a\n\nb\n", "line 2: expected a token, found an empty line"),
        (b"[PAD]\n[UNK]\na\n[UNK]\n", r"line 4: token '\[UNK\]' stands on line 2 already"),
        (b"[PAD]\n[UNK]\na\n", r"missing: \[CLS\] \[SEP\] \[MASK\]"),
        (b"[PAD]\n\xff\n", "expected UTF-8, byte 6 is not"),
    ],
)
def test_broken_vocab_txt(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "vocab.txt").write_bytes(content)
    with pytest.raises(InputError, match=message):
        Tokenizer.load(tmp_path)


def test_files_that_are_not_there_or_not_json(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: no such file or directory"):
        Tokenizer.load(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"expected tokenizer.json or vocab.txt in it"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{\n"model": }')
    with pytest.raises(InputError, match=r"tokenizer.json, line 2: expected JSON"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("[]")
    with pytest.raises(InputError, match="expected a JSON object"):
        Tokenizer.load(tmp_path)


def test_a_bad_option_in_tokenizer_config(tmp_path: Path) -> None:
    directory = write_vocab(tmp_path, SMALL, do_lower_case="yes")
    with pytest.raises(InputError, match="do_lower_case: expected true or false, found 'yes'"):
        Tokenizer.load(directory)


def test_importing_and_plain_encoding_need_no_torch(tmp_path: Path) -> None:
    directory = write_vocab(tmp_path, SMALL)
    code = (
        "import sys; from minibert.tokenizer import Tokenizer; t = Tokenizer.load(sys.argv[1]);"
        "t.encode_plain(['the']); print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code, str(directory)], capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"
