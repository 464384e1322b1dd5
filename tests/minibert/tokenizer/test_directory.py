"""Vocabulary files: what is read, what lies beside them, and what is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers

from minibert.errors import InputError
from minibert.tokenizer import Tokenizer
from tests.helpers import refusal
from tests.minibert.relatives import roberta_files
from tests.minibert.tokenizer.test_tokenizer import SMALL, small, write_vocab

# --- What is read ----------------------------------------------------------------------------------------------------


def test_lower_casing_is_read_off_a_bare_vocabulary(tmp_path: Path) -> None:
    assert Tokenizer.load(write_vocab(tmp_path / "a", SMALL)).normalization.lowercase
    assert not Tokenizer.load(write_vocab(tmp_path / "b", [*SMALL, "Man"])).normalization.lowercase
    assert not Tokenizer.load(write_vocab(tmp_path / "c", [*SMALL, "##É"])).normalization.lowercase
    # [unused1] or <S> are no words: the Chinese vocabulary has such and is lower-cased.
    assert Tokenizer.load(write_vocab(tmp_path / "d", [*SMALL, "<S>", "[UNUSED]"])).normalization.lowercase


def test_vocab_lines_end_where_the_file_says(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_bytes("\r\n".join([*SMALL, "\u2028"]).encode())
    assert Tokenizer.load(tmp_path / "vocab.txt").vocab_size == 26


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\r\n\r\n\n"])
def test_blank_lines_at_the_end_of_a_vocabulary_are_no_tokens(tmp_path: Path, end: str) -> None:
    (tmp_path / "vocab.txt").write_bytes(("\n".join(SMALL) + end).encode())
    assert Tokenizer.load(tmp_path / "vocab.txt").vocab_size == len(SMALL)


@pytest.mark.parametrize("end", ["\n\n", "\r\n\r\n"])
def test_a_blank_line_has_a_row_where_added_tokens_come_after_it(tmp_path: Path, end: str) -> None:
    (tmp_path / "vocab.txt").write_bytes(("\n".join(SMALL) + end).encode())
    (tmp_path / "added_tokens.json").write_text('{"dog": 26}')  # as a slow tokenizer of transformers 4 numbered it
    tokenizer = Tokenizer.load(tmp_path)
    assert (tokenizer.vocab_size, tokenizer("the dog").input_ids.tolist()) == (27, [[2, 5, 26, 3]])
    tokenizer.save(tmp_path / "saved")
    assert Tokenizer.load(tmp_path / "saved").fingerprint == tokenizer.fingerprint


def test_a_byte_order_mark_is_no_part_of_the_first_token(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_bytes(("\ufeff" + "\n".join(SMALL)).encode())
    assert Tokenizer.load(tmp_path / "vocab.txt").fingerprint == small(tmp_path / "plain").fingerprint


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


# --- What lies beside it ---------------------------------------------------------------------------------------------

LAST = len(SMALL)  # the first id that is free
DOG = {"content": "dog", "lstrip": False, "rstrip": False, "normalized": True, "single_word": True, "special": False}
MASK_AS_WRITTEN = {"content": "[MASK]", "lstrip": True, "rstrip": False, "normalized": True, "single_word": False}
BESIDE: dict[str, dict[str, dict[str, Any]]] = {
    "added tokens": {"added_tokens.json": {"dog": LAST, "COVID": LAST + 1, "[X]": LAST + 2}},
    "added tokens, one special": {
        "added_tokens.json": {"[X]": LAST, "dog": LAST + 1},
        # Of the old name, additional_special_tokens, transformers 5 forgets here that it makes a token special.
        "special_tokens_map.json": {"extra_special_tokens": ["[X]"], "cls_token": "[CLS]"},
    },
    "special tokens": {"special_tokens_map.json": {"additional_special_tokens": ["[X]", "the"], "bos_token": "[CLS]"}},
    "flags of a special token": {"special_tokens_map.json": {"mask_token": MASK_AS_WRITTEN}},
    "special tokens in the config": {"tokenizer_config.json": {"additional_special_tokens": ["[X]"]}},
    "under the new name": {"tokenizer_config.json": {"extra_special_tokens": ["[X]"], "add_bos_token": False}},
    "by purpose": {"tokenizer_config.json": {"extra_special_tokens": {"x_token": "[X]"}}},
    "listed in the config": {"tokenizer_config.json": {"added_tokens_decoder": {str(LAST): DOG}}},
    "the config's list alone counts": {
        "tokenizer_config.json": {"added_tokens_decoder": {str(LAST): DOG}},
        "added_tokens.json": {"covid": LAST},
        "special_tokens_map.json": {"additional_special_tokens": ["[X]"]},
    },
}


def write_beside(directory: Path, files: dict[str, dict[str, Any]]) -> Path:
    """A vocab.txt, and other files."""
    write_vocab(directory, SMALL)
    for name, content in files.items():
        (directory / name).write_text(json.dumps(content))
    return directory


@pytest.mark.parametrize("files", BESIDE.values(), ids=BESIDE)
def test_what_lies_beside_a_vocabulary_is_heeded_as_transformers_does(
    files: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    ours = Tokenizer.load(write_beside(tmp_path, files))
    reference = transformers.BertTokenizerFast.from_pretrained(tmp_path)
    assert ours.vocab_size == len(reference)
    ours.save(tmp_path / "saved")
    for text in ("the dog dogs doghouse COVID covid", "[X] man x[X]y THE [x]", "man [mask]  [MASK] ."):
        expected = reference(text, return_offsets_mapping=True)
        for tokenizer in (ours, Tokenizer.load(tmp_path / "saved")):
            assert tokenizer(text).input_ids[0].tolist() == expected["input_ids"]
            assert [tuple(pair) for pair in tokenizer(text).offsets[0].tolist()] == expected["offset_mapping"]


def test_added_tokens_by_hand(tmp_path: Path) -> None:
    files = {"added_tokens.json": {"dog": 25, "[X]": 26}, "special_tokens_map.json": {"extra_special_tokens": ["[X]"]}}
    tokenizer = Tokenizer.load(write_beside(tmp_path, files))
    assert tokenizer.vocab_size == 27
    assert tokenizer("the DOGS [X] [x]").input_ids.tolist() == [[2, 5, 25, 1, 26, 1, 1, 1, 3]]
    assert tokenizer.decode([5, 25, 26]) == "the dog"


def test_an_added_token_has_the_flags_of_the_map_of_special_tokens(tmp_path: Path) -> None:
    """As transformers 4 saved it; version 5 can't read tokens with flags there."""
    flagged = {"content": "[X]", "lstrip": True, "rstrip": True, "normalized": False, "single_word": False}
    files = {"added_tokens.json": {"[X]": 274}, "special_tokens_map.json": {"additional_special_tokens": [flagged]}}
    directory = roberta_files(tmp_path, ["the man went to the mill"] * 2, 274)
    for name, content in files.items():
        (directory / name).write_text(json.dumps(content))
    tokenizer = Tokenizer.load(directory)
    assert tokenizer.tokens(tokenizer("a [X] b").input_ids[0].tolist()) == ["<s>", "a", "[X]", "b", "</s>"]


def test_generic_classes_go_by_tokenizer_json_alone(tmp_path: Path) -> None:
    tokenizer_json(tmp_path)
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": False}
    (tmp_path / "saved" / "tokenizer_config.json").write_text(json.dumps(config))
    assert Tokenizer.load(tmp_path / "saved").normalization.lowercase


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    # what stands in which file beside vocab.txt, and what the message says after its path
    (
        "tokenizer_config.json",
        {"tokenizer_class": "BertJapaneseTokenizer"},
        ", tokenizer_class: expected one of BertTokenizer, DistilBertTokenizer, ElectraTokenizer, "
        "MobileBertTokenizer, PreTrainedTokenizerFast, TokenizersBackend, found 'BertJapaneseTokenizer'",
    ),
    (
        "tokenizer_config.json",
        {"tokenizer_class": ["BertTokenizer"]},
        ", tokenizer_class: expected one of BertTokenizer, DistilBertTokenizer, ElectraTokenizer, "
        "MobileBertTokenizer, PreTrainedTokenizerFast, TokenizersBackend, found ['BertTokenizer']",
    ),
    ("tokenizer_config.json", {"split_special_tokens": True}, ", split_special_tokens: expected false, found True"),
    ("tokenizer_config.json", {"cls_token": "<s>"}, ", cls_token: expected '[CLS]', found '<s>'"),
    ("tokenizer_config.json", {"pad_token": False}, ", pad_token: expected a token, found False"),
    (
        "tokenizer_config.json",
        {"bos_token": "the"},
        ", bos_token: expected one of [PAD], [UNK], [CLS], [SEP], [MASK], found 'the'",
    ),
    ("special_tokens_map.json", {"mask_token": {"content": "<m>"}}, ", mask_token: expected '[MASK]', found '<m>'"),
    ("special_tokens_map.json", {"mask_token": {}}, ", mask_token: expected a token, found {}"),
    (
        "special_tokens_map.json",
        {"additional_special_tokens": [3]},
        ", additional_special_tokens: expected tokens, found [3]",
    ),
    (
        "tokenizer_config.json",
        {"added_tokens_decoder": ["dog"]},
        ", added_tokens_decoder: expected an object that maps each id to a token and its flags",
    ),
    (
        "tokenizer_config.json",
        {"added_tokens_decoder": {"x": DOG}},
        ", added_tokens_decoder: expected an object that maps each id to a token and its flags",
    ),
    ("tokenizer_config.json", {"added_tokens_decoder": {"29": DOG}}, ": added token 'dog' has the id 29, expected 25"),
    ("added_tokens.json", {"dog": 26}, ": added token 'dog' has the id 26, expected 25"),
    ("added_tokens.json", {"the": 25}, ": added token 'the' has the id 25, expected 5"),
    ("added_tokens.json", {"dog": "25"}, ": expected an object that maps each token to its id"),
]


@pytest.mark.parametrize(("name", "content", "message"), REFUSED, ids=[f"{c}" for _, c, _ in REFUSED])
def test_what_lies_beside_a_vocabulary_is_refused_by_name(
    name: str, content: dict[str, Any], message: str, tmp_path: Path
) -> None:
    write_beside(tmp_path, {name: content})
    assert refusal(lambda: Tokenizer.load(tmp_path)) == f"{tmp_path / name}{message}"


# --- What is refused -------------------------------------------------------------------------------------------------


BROKEN: list[tuple[str, str, Any, str]] = [
    # what is changed, in which part of the file, to what, and what the message says
    ("type", "model", "WordLevel", "model.type: expected one of WordPiece, BPE, Unigram, found 'WordLevel'"),
    ("unk_token", "model", "<unk>", "model.unk_token"),
    ("vocab", "model", {"[UNK]": "0"}, "model.vocab"),
    ("vocab", "model", {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 9}, "ids from 0 on"),
    ("vocab", "model", {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 3}, "ids from 0 on"),
    ("vocab", "model", {**{token: i for i, token in enumerate(SMALL)}, "a\nb": 25}, "contains a line feed"),
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
        (b"[PAD]\n[UNK]\na\n[UNK]\n", r"line 4: token '\[UNK\]' is already on line 2"),
        (b"[PAD]\n[UNK]\na\n", r"missing: \[CLS\] \[SEP\] \[MASK\]"),
        (
            b"[PAD]\n\xff\n",
            "byte 6 is not UTF-8; it is probably WINDOWS-1252: iconv -f WINDOWS-1252 -t UTF-8 .*vocab.txt",
        ),
    ],
)
def test_broken_vocab_txt(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "vocab.txt").write_bytes(content)
    with pytest.raises(InputError, match=message):
        Tokenizer.load(tmp_path)


def test_files_that_are_not_there_or_not_json(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: no such file or directory"):
        Tokenizer.load(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"expected tokenizer.json, vocab.txt, vocab.json or spiece.model in it"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{\n"model": }')
    with pytest.raises(InputError, match=r"tokenizer.json, line 2: not readable as JSON"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("[]")
    with pytest.raises(InputError, match="expected a JSON object"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("1" * 5000)
    assert refusal(lambda: Tokenizer.load(tmp_path)) == (
        f"{tmp_path / 'tokenizer.json'}: expected JSON, found a number with too many digits"
    )


def test_a_bad_option_in_tokenizer_config(tmp_path: Path) -> None:
    directory = write_vocab(tmp_path, SMALL, do_lower_case="yes")
    with pytest.raises(InputError, match="do_lower_case: expected true or false, found 'yes'"):
        Tokenizer.load(directory)
