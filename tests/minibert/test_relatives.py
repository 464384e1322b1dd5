"""What the tokenizers of RoBERTa and ALBERT do otherwise than BERT's: by hand, and whatever asks a tokenizer."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from minibert.errors import InputError
from minibert.growing import grow_vocabulary
from minibert.tokenizer import Tokenizer
from minibert.tokenizer.vocabulary import BYTE_OF, BYTES, Kind
from tests.helpers import TINY, refusal, tiny_model

QUOTES = [{"type": "Replace", "pattern": {"String": mark}, "content": '"'} for mark in ("``", "''")]
UNFOLDED = {"lowercase": False}
TEXTS = ["the man went to the mill .", "the mill ; the man", "The Mill"] * 5


def trained(kind: Kind, size: int = 300) -> Tokenizer:
    return Tokenizer.train(TEXTS, vocab_size=size, kind=kind)


# --- RoBERTa ---------------------------------------------------------------------------------------------------------


def test_roberta_by_hand() -> None:
    tokenizer = trained("bpe")
    batch = tokenizer(["the  man<mask>", "mill"], ["the mill", ""])
    pieces = [tokenizer.tokens(row) for row in batch.input_ids.tolist()]
    assert pieces == [
        ["<s>", "the", "Ġ", "Ġman", "<mask>", "</s>", "</s>", "the", "Ġmill", "</s>"],
        ["<s>", "m", "ill", "</s>", "</s>", "</s>", *["<pad>"] * 4],
    ]
    assert batch.token_type_ids.sum() == 0
    assert batch.sequence_ids.tolist() == [[-1, 0, 0, 0, 0, -1, -1, 1, 1, -1], [-1, 0, 0] + [-1] * 7]
    assert batch.offsets[0].tolist() == [
        *[[0, 0], [0, 3], [4, 4], [5, 8], [8, 14], [0, 0], [0, 0], [0, 3], [4, 8], [0, 0]]
    ]
    assert (tokenizer.cls_id, tokenizer.pad_id, tokenizer.sep_id, tokenizer.unk_id, tokenizer.mask_id) == (
        0,
        1,
        2,
        3,
        4,
    )
    assert tokenizer.decode(batch.input_ids[0]) == "the  manthe mill"


def test_a_mask_takes_the_space_before_it() -> None:
    for kind, mask in (("bpe", "<mask>"), ("unigram", "[MASK]")):
        tokenizer = trained(kind)
        ids = tokenizer([f"man{mask}", f"man  {mask}"]).input_ids.tolist()
        assert ids[0] == ids[1]


def test_every_byte_is_a_piece() -> None:
    assert sorted(BYTE_OF.values()) == list(range(256))
    assert sorted(BYTE_OF) == sorted(BYTES)
    tokenizer = trained("bpe")
    (ids,) = tokenizer.encode_plain(["中 é\x00<mask>"])
    assert tokenizer.tokens(ids) == ["ä", "¸", "Ń", "Ġ", "Ã", "©", "Ā", "<", "m", "a", "s", "k", ">"]
    assert tokenizer.decode(ids) == "中 é\x00<mask>"
    assert tokenizer.shown(tokenizer.token_to_id("Ġman")) == "▁man"
    assert tokenizer.shown(tokenizer.token_to_id("Ń")) == "Ń"
    assert tokenizer.shown(tokenizer.token_to_id("Ċ")) == "Ċ"  # the byte of a line's end


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_bytes_bring_back_every_text(text: str) -> None:
    tokenizer = trained("bpe")
    assert tokenizer.decode(tokenizer.encode_plain([text])[0]) == text


# --- ALBERT ----------------------------------------------------------------------------------------------------------


def test_albert_by_hand() -> None:
    tokenizer = trained("unigram", 40)
    batch = tokenizer("``Thé''  [MASK] mill", "zzz")
    assert tokenizer.tokens(batch.input_ids[0]) == [
        *["[CLS]", "▁", "<unk>", "the", "<unk>", "[MASK]", "▁mill", "[SEP]", "▁", "<unk>", "[SEP]"]
    ]
    assert batch.token_type_ids.tolist() == [[0] * 8 + [1] * 3]
    assert batch.sequence_ids.tolist() == [[-1, 0, 0, 0, 0, 0, 0, -1, 1, 1, -1]]
    # Of two quotation marks that became one the library keeps the second, and the mask has the two spaces before it.
    assert batch.offsets[0].tolist() == [
        *[[0, 0], [1, 2], [1, 2], [2, 5], [6, 7], [7, 15], [16, 20], [0, 0], [0, 1], [0, 3], [0, 0]]
    ]


def test_no_corpus_spells_a_special_token() -> None:
    tokenizer = Tokenizer.train(["a < p a d > [ C L S ] u n k"] * 9, vocab_size=60, kind="unigram", lowercase=False)
    for special in tokenizer.special_tokens:
        (ids,) = tokenizer.encode_plain([f"a {special} a"])
        assert not {tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id} & set(ids)
        assert tokenizer.token_to_id(special) in tokenizer(f"a {special} a").input_ids[0]


# --- What asks a tokenizer -------------------------------------------------------------------------------------------


def test_pieces_that_go_on_with_a_word() -> None:
    def mask(tokenizer: Tokenizer, *tokens: str) -> list[bool]:
        return [bool(tokenizer.continuation_mask[tokenizer.token_to_id(token)]) for token in tokens]

    # A byte of a character goes on with what its first byte began; punctuation is a word of its own.
    assert mask(trained("bpe"), "ill", "m", "Ġmill", "Ġ", ".", "Ń", "<mask>") == [True, True, *[False] * 3, True, False]
    tokenizer = Tokenizer.train([*TEXTS, "中国"], vocab_size=40, kind="unigram")
    assert mask(tokenizer, "the", "▁the", "▁", ".", "国", "[MASK]") == [True, *[False] * 5]


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_ids_are_laid_out_as_texts_are(kind: Kind) -> None:
    tokenizer = trained(kind)
    first, second = tokenizer.encode_plain(["the man went", "the mill"])
    for pair in (False, True):
        batch = tokenizer("the man went", "the mill" if pair else None)
        (encoding,) = tokenizer.encode(["the man went"], ["the mill"] if pair else None)
        for each in (tokenizer.lay_out(first, second if pair else None), encoding):
            assert each.ids.tolist() == batch.input_ids[0].tolist()
            assert [int(place >= each.second) for place in range(len(each.ids))] == batch.token_type_ids[0].tolist()
        assert int((batch.sequence_ids < 0).sum()) == tokenizer.special_count(pair=pair)
    with pytest.raises(InputError, match="expected at least"):
        tokenizer("the", "man", max_length=tokenizer.special_count(pair=True))


def test_bytes_of_the_text_that_a_token_stands_for() -> None:
    text = "the man, the mill É中"
    for kind in ("wordpiece", "bpe", "unigram"):
        tokenizer = Tokenizer.train([text] * 3, vocab_size=270, kind=kind, **({} if kind == "bpe" else UNFOLDED))
        (ids,) = tokenizer.encode_plain([text])
        assert tokenizer.byte_lengths[ids].sum() == len(text.replace(" ", "").encode())
        tokenizer.add_tokens(["Ärzte"])
        assert tokenizer.byte_lengths[-1] == 6
        assert tokenizer.byte_lengths[tokenizer(tokenizer.special_tokens.mask).input_ids[0]].tolist() == [0, 0, 0]


def test_a_new_row_is_the_mean_of_the_pieces_inside_a_sentence() -> None:
    for kind in ("bpe", "unigram"):
        tokenizer = trained(kind)
        model = tiny_model("BertForMaskedLM", TINY.replace(vocab_size=tokenizer.vocab_size))
        rows = model.encoder.embeddings.token.weight.detach().clone()
        pieces = tokenizer.encode_plain([" miller"])[0]
        growth = grow_vocabulary(model, tokenizer, ["miller"])
        assert [token.piece_ids for token in growth.added] == [tuple(pieces)]
        assert_allclose(model.encoder.embeddings.token.weight[-1].detach(), rows[pieces].mean(0), rtol=1e-5)
        copy = pickle.loads(pickle.dumps(tokenizer))
        assert copy.encode_plain(["a miller <pad>"]) == tokenizer.encode_plain(["a miller <pad>"])
        assert copy.fingerprint == tokenizer.fingerprint


def test_added_words_stand_in_running_text() -> None:
    for kind in ("bpe", "unigram"):
        tokenizer = trained(kind)
        assert tokenizer.add_tokens(["mill"]) == 0  # "Ġmill" and "▁mill" are pieces
        assert tokenizer.add_tokens(["baker", "新冠", tokenizer.special_tokens.mask]) == 2
        (ids,) = tokenizer.encode_plain(["the baker 新冠 man"])
        shown = [tokenizer.id_to_token(token) for token in ids]
        assert [token for token in shown if token in ("baker", "新冠")] == ["baker", "新冠"]
        assert "Ġ" not in shown
        assert not tokenizer.continuation_mask[-2:].any()
        assert tokenizer.encode_words(["baker", "新冠"]) == [[tokenizer.vocab_size - 2], [tokenizer.vocab_size - 1]]


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_saving_and_loading_changes_nothing(tmp_path: Path, kind: Kind) -> None:
    tokenizer = trained(kind)
    tokenizer.add_tokens(["baker"])
    tokenizer.save(tmp_path / "one")
    again = Tokenizer.load(tmp_path / "one")
    again.save(tmp_path / "two")
    assert (again.kind, again.fingerprint) == (kind, tokenizer.fingerprint)
    assert again.normalization == tokenizer.normalization
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["tokenizer.json"]
    assert (tmp_path / "one" / "tokenizer.json").read_bytes() == (tmp_path / "two" / "tokenizer.json").read_bytes()


# --- What is refused -------------------------------------------------------------------------------------------------


def broken(directory: Path, kind: Kind, keys: tuple[str, ...], value: Any) -> str:
    """The message about a saved tokenizer.json in which one thing is another, less its path."""
    trained(kind).save(directory)
    path = directory / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    part = content
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    path.write_text(json.dumps(content))
    return refusal(lambda: Tokenizer.load(directory)).removeprefix(str(path))


@pytest.mark.parametrize(
    ("kind", "keys", "value", "message"),
    [
        ("bpe", ("normalizer",), {"type": "NFC"}, ", normalizer: expected None, found {'type': 'NFC'}"),
        ("bpe", ("pre_tokenizer", "type"), "Split", ", pre_tokenizer.type: expected 'ByteLevel', found 'Split'"),
        ("bpe", ("pre_tokenizer", "use_regex"), False, ", pre_tokenizer.use_regex: expected True, found False"),
        ("bpe", ("model", "dropout"), 0.1, ", model.dropout: expected None, found 0.1"),
        ("bpe", ("model", "merges"), None, ", model.merges: expected a list of pairs"),
        ("bpe", ("model", "merges"), [["a"]], ": expected merges of two pieces, found ['a']"),
        ("bpe", ("model", "merges"), [5], ": expected merges of two pieces, found 5"),
        ("bpe", ("model", "merges"), ["a Ġq"], ": merge 'a Ġq': 'Ġq' is not in the vocabulary"),
        (
            "bpe",
            ("model", "vocab"),
            {token: i for i, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])},
            ": merge 'h e': 'h' is not in the vocabulary",
        ),
        (
            "unigram",
            ("pre_tokenizer",),
            {"type": "WhitespaceSplit"},
            ", pre_tokenizer: expected WhitespaceSplit, then Metaspace, or Metaspace alone",
        ),
        ("unigram", ("model", "unk_id"), 0, ", model.unk_id: expected 1, found 0"),
        ("unigram", ("model", "byte_fallback"), True, ", model.byte_fallback: expected False, found True"),
        ("unigram", ("model", "vocab"), {"a": 1}, ", model.vocab: expected a list of pieces, each with its score"),
        ("unigram", ("model", "vocab"), [["a"]], ", model.vocab: expected a list of pieces, each with its score"),
        ("unigram", ("model", "vocab"), [["a", "1"]], ", model.vocab: expected a list of pieces, each with its score"),
        ("unigram", ("model", "vocab"), [[7, -1.0]], ", model.vocab: expected a list of pieces, each with its score"),
        ("unigram", ("model", "vocab"), [["a", True]], ", model.vocab: expected a list of pieces, each with its score"),
        (
            "unigram",
            ("model", "vocab"),
            [["a", 10**400]],
            f", model.vocab: piece 'a': expected a finite score, found {10**400}",
        ),
        (
            "unigram",
            ("model", "vocab"),
            [["a", math.nan]],
            ", model.vocab: piece 'a': expected a finite score, found nan",
        ),
        ("unigram", ("model", "vocab"), [["a", -1.0], ["a", -2.0]], ", model.vocab: expected each piece only once"),
        (
            "unigram",
            ("model", "type"),
            ["Unigram"],
            ", model.type: expected one of WordPiece, BPE, Unigram, found ['Unigram']",
        ),
        (
            "unigram",
            ("normalizer",),
            {"type": "Lowercase"},
            ", normalizer: expected ALBERT's steps: quotation marks, accents, case, characters",
        ),
        (
            "unigram",
            ("normalizer", "normalizers"),
            [*QUOTES, {"type": "Precompiled", "precompiled_charsmap": "AAAA"}],
            ", normalizer.precompiled_charsmap: expected SentencePiece's table of characters, found a damaged one",
        ),
    ],
)
def test_a_broken_tokenizer_json(tmp_path: Path, kind: Kind, keys: tuple[str, ...], value: Any, message: str) -> None:
    assert broken(tmp_path, kind, keys, value) == message


@pytest.mark.parametrize(
    ("kind", "config", "message"),
    [
        ("bpe", {"tokenizer_class": "BertTokenizer"}, "tokenizer_config.json, tokenizer_class: expected one of RobertaTokenizer, LongformerTokenizer, PreTrainedTokenizerFast, TokenizersBackend, found 'BertTokenizer'"),  # noqa: E501
        ("bpe", {"cls_token": "[CLS]"}, "tokenizer_config.json, cls_token: expected '<s>', found '[CLS]'"),
        ("bpe", {"trim_offsets": False}, "tokenizer.json, trim_offsets: expected true, found False"),
        ("unigram", {"add_prefix_space": False}, "tokenizer.json, add_prefix_space: expected true, found False"),
        ("unigram", {"keep_accents": 1}, "tokenizer_config.json, keep_accents: expected true or false, found 1"),
        ("unigram", {"bos_token": "<s>"}, "tokenizer_config.json, bos_token: expected one of <pad>, <unk>, [CLS], [SEP], [MASK], found '<s>'"),  # noqa: E501
    ],
)  # fmt: skip
def test_a_config_that_contradicts(tmp_path: Path, kind: Kind, config: dict[str, Any], message: str) -> None:
    trained(kind).save(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert refusal(lambda: Tokenizer.load(tmp_path)) == f"{tmp_path}/{message}"


def test_broken_merges(tmp_path: Path) -> None:
    vocabulary = {token: i for i, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(BYTES)])}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    merges = tmp_path / "merges.txt"
    assert refusal(lambda: Tokenizer.load(tmp_path)).startswith(f"{merges}: no such file")
    merges.write_text("#version: 0.2\na b c\n")
    found = refusal(lambda: Tokenizer.load(tmp_path))
    assert found == f"{merges}, line 2: expected two pieces separated by a space, found 'a b c'"
    merges.write_text("#version: 0.2\na b\n")
    assert refusal(lambda: Tokenizer.load(tmp_path)) == f"{merges}: merge 'a b': 'ab' is not in the vocabulary"
    del vocabulary["a"]
    (tmp_path / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocabulary)}))
    merges.write_text("#version: 0.2\n")
    found = refusal(lambda: Tokenizer.load(tmp_path))
    assert found == f"{tmp_path / 'vocab.json'}: expected all 256 bytes in the vocabulary, missing: a"


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_half_a_character_is_no_token(kind: Kind, tmp_path: Path) -> None:
    trained(kind).save(tmp_path)
    path = tmp_path / "tokenizer.json"
    content = json.loads(path.read_text())
    vocabulary = content["model"]["vocab"]
    if kind == "unigram":
        vocabulary.append(["\ud800", -1.0])
    else:
        vocabulary["\ud800"] = len(vocabulary)
    path.write_text(json.dumps(content))
    expected = f"{path}: token '\\ud800': expected Unicode text, found a lone surrogate"
    assert refusal(lambda: Tokenizer.load(tmp_path)) == expected
