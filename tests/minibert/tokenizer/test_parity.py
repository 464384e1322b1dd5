"""The tokenizer against transformers': the same ids, segments and offsets, whole and truncated, with no difference."""

from __future__ import annotations

import gzip
import itertools
import json
import random
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import transformers

from minibert.tokenizer import Tokenizer
from minibert.tokenizer.vocabulary import CONTINUATION
from tests.helpers import REPOSITORY
from tests.minibert.tokenizer.test_tokenizer import small, write_vocab
from tests.minibert.unicode_strings import SPACES, strings

DATA = REPOSITORY.parent / "shared" / "data"
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
OPTIONS: list[dict[str, Any]] = [
    {"do_lower_case": True},
    {"do_lower_case": False},
    {"do_lower_case": True, "strip_accents": False},
    {"do_lower_case": False, "strip_accents": True, "tokenize_chinese_chars": False},
]
PUBLISHED = ["uncased", "cased", "chinese", "multilingual-cased"]


def reference_tokenizer(directory: Path) -> Any:
    """transformers' tokenizer of a directory, which must have taken the options that stand there."""
    reference = transformers.BertTokenizerFast.from_pretrained(directory)
    options = json.loads((directory / "tokenizer_config.json").read_text())
    normalizer = json.loads(reference.backend_tokenizer.to_str())["normalizer"]
    assert normalizer == {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": options.get("tokenize_chinese_chars", True),
        "strip_accents": options.get("strip_accents"),
        "lowercase": options.get("do_lower_case", True),
    }
    return reference


def assert_same(
    ours: Tokenizer,
    reference: Any,
    texts: Sequence[str],
    pairs: Sequence[str] | None = None,
    max_length: int | None = None,
) -> None:
    """The first text that differs is shown, with what each makes of it."""
    for start in range(0, len(texts), 200):
        first = list(texts[start : start + 200])
        second = None if pairs is None else list(pairs[start : start + 200])
        batch = ours(first, second, max_length=max_length)
        expected = reference(
            first,
            second,
            truncation="longest_first" if max_length else False,
            max_length=max_length,
            return_offsets_mapping=True,
            return_token_type_ids=True,
            verbose=False,  # of a text over 512 tokens
        )
        assert batch.lengths.tolist() == list(map(len, expected["input_ids"]))
        real = batch.attention_mask
        assert real.sum(1).tolist() == batch.lengths.tolist()
        for name, tensor in (
            ("input_ids", batch.input_ids),
            ("token_type_ids", batch.token_type_ids),
            ("offset_mapping", batch.offsets),
        ):
            if tensor[real].tolist() != list(map(as_list, itertools.chain(*expected[name]))):
                for row, text in enumerate(first):
                    found = tensor[row, : batch.lengths[row]].tolist()
                    context = (name, text, second and second[row], max_length)
                    assert (context, found) == (context, list(map(as_list, expected[name][row])))


def as_list(value: Any) -> Any:
    """An offset of the reference is a tuple."""
    return list(value) if isinstance(value, tuple) else value


def assert_same_in_every_way(ours: Tokenizer, reference: Any, texts: Sequence[str], *, lengths: Sequence[int]) -> None:
    """Each text alone and whole; and in a pair with its neighbour, cut to each of some lengths."""
    assert_same(ours, reference, texts)
    even = [*texts, ""][: len(texts) + len(texts) % 2]
    for max_length in lengths:
        assert_same(ours, reference, even[::2], even[1::2], max_length)


def words_of(tokenizer: Tokenizer) -> list[str]:
    """What the generated strings take from a vocabulary."""
    return [token.removeprefix(CONTINUATION) for token in tokenizer.tokens(range(tokenizer.vocab_size))]


def test_generated_text_has_every_kind_of_character() -> None:
    texts = strings(2_000, ["word"], seed=5)
    assert texts == strings(2_000, ["word"], seed=5)
    text = "".join(texts)
    assert {unicodedata.category(character) for character in text} == {
        *("Cc", "Cf", "Cn", "Co", "Ll", "Lm", "Lo", "Lt", "Lu", "Mc", "Me", "Mn", "Nd", "Nl", "No"),
        *("Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "Sc", "Sk", "Sm", "So", "Zl", "Zp", "Zs"),
    }
    assert set(SPACES) < set(text)


# --- A vocabulary written here ---------------------------------------------------------------------------------------


def learned_directory(directory: Path, options: dict[str, Any]) -> Path:
    """A vocabulary learned, cased, from this file's strings: short pieces, accents and all scripts among them."""
    Tokenizer.train(STRINGS * 2, vocab_size=260, lowercase=False).save(directory / "learned")
    tokens = (directory / "learned" / "vocab.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    return write_vocab(directory / "with_options", tokens, **options)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_ids_and_offsets_equal_transformers(tmp_path: Path, options: dict[str, Any]) -> None:
    directory = learned_directory(tmp_path, options)
    ours, reference = Tokenizer.load(directory), reference_tokenizer(directory)
    assert_same(ours, reference, STRINGS, max_length=512)
    for max_length in (4, 5, 8, 13, 40):
        assert_same(ours, reference, STRINGS, STRINGS[::-1], max_length)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_generated_text_equals_transformers(tmp_path: Path, options: dict[str, Any]) -> None:
    directory = learned_directory(tmp_path, options)
    ours, reference = Tokenizer.load(directory), reference_tokenizer(directory)
    assert_same_in_every_way(ours, reference, strings(500, words_of(ours), seed=1), lengths=(7, 12, 33))


def test_added_words_equal_transformers_after_saving(tmp_path: Path) -> None:
    ours = small(tmp_path)
    ours.add_tokens(["COVID", "新冠"])
    ours.save(tmp_path / "saved")
    (tmp_path / "saved" / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    reference = reference_tokenizer(tmp_path / "saved")
    assert_same(ours, reference, ["covid COVID covids 人新冠人", "the man"], max_length=32)


# --- The published vocabularies --------------------------------------------------------------------------------------


def published_directory(directory: Path, name: str) -> Path:
    """A published vocabulary with the options that it was made for."""
    source = DATA / "vocab" / f"bert-base-{name}-vocab.txt"
    if not source.is_file():
        pytest.skip(f"{source} is missing (shared data of the project's developers)")
    write_vocab(directory, [], do_lower_case=name in ("uncased", "chinese"))
    (directory / "vocab.txt").write_bytes(source.read_bytes())
    return directory


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_vocabularies_equal_transformers(tmp_path: Path, name: str) -> None:
    directory = published_directory(tmp_path, name)
    ours, reference = Tokenizer.load(directory), reference_tokenizer(directory)
    # The file alone tells whether it lower-cases.
    assert Tokenizer.load(directory / "vocab.txt").fingerprint == ours.fingerprint
    assert ours.normalization.lowercase == (name in ("uncased", "chinese"))
    assert (ours.pad_id, ours.unk_id, ours.cls_id, ours.sep_id, ours.mask_id) == (0, 100, 101, 102, 103)
    assert_same(ours, reference, STRINGS, max_length=512)
    assert_same(ours, reference, STRINGS, STRINGS[::-1], 12)
    text = "A wonderful 2019 café, 中国 新冠病毒; #hashtag ##ing"
    ids = ours(text).input_ids[0].tolist()
    assert ours.decode(ids) == reference.decode(ids, skip_special_tokens=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_generated_text_equals_transformers_in_published_vocabularies(tmp_path: Path, name: str) -> None:
    directory = published_directory(tmp_path / "txt", name)
    ours, reference = Tokenizer.load(directory), reference_tokenizer(directory)
    texts = strings(20_000, words_of(ours), seed=2)
    assert_same_in_every_way(ours, reference, texts, lengths=(12, 40))

    # As tokenizer.json: that of transformers read by ours, that of ours read by transformers.
    reference.save_pretrained(tmp_path / "theirs")
    assert sorted(path.name for path in (tmp_path / "theirs").iterdir()) == ["tokenizer.json", "tokenizer_config.json"]
    ours.save(tmp_path / "ours")
    (tmp_path / "ours" / "vocab.txt").unlink()
    (tmp_path / "ours" / "tokenizer_config.json").write_bytes((directory / "tokenizer_config.json").read_bytes())
    sample = random.Random(3).sample(texts, 2_000)
    # The files differ in one token: transformers takes white space off the end of each line of vocab.txt, and of
    # U+2028 and ##U+2028 in the Chinese vocabulary leaves "" and "##". Cleaned text has none of the four.
    assert_same(Tokenizer.load(tmp_path / "theirs"), reference, sample, max_length=40)
    assert_same(ours, reference_tokenizer(tmp_path / "ours"), sample, max_length=40)


def lines_of(*names: str) -> list[str]:
    """Every line of some shared files, as it stands there; of SQuAD's, every passage and every question."""
    lines: list[str] = []
    for name in names:
        path = DATA / name
        if not path.is_file():
            pytest.skip(f"{path} is missing (shared data of the project's developers)")
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
        lines += passages_of(json.loads(text)) if ".json" in path.suffixes else text.split("\n")
    return lines


def passages_of(squad: dict[str, Any]) -> list[str]:
    passages = [passage for article in squad["data"] for passage in article["paragraphs"]]
    return [text for each in passages for text in (each["context"], *(qa["question"] for qa in each["qas"]))]


# Of each data set; the training part of WikiText-2, ten times as much, takes minutes, and SQuAD's others are like it.
REAL_TEXTS = {
    "waimai": ("waimai_10k.csv",),
    "CoLA": ("cola/train.tsv", "cola/dev.tsv"),
    "WikiText-2": ("wikitext-2/valid.txt", "wikitext-2/test.txt"),
    "STS-B": ("stsb/sts-train.csv", "stsb/sts-dev.csv", "stsb/sts-test.csv"),
    "WNUT-17": ("wnut17/train.conll", "wnut17/dev.conll", "wnut17/test.conll"),
    "SQuAD": ("squad/dev-v1.1.json.gz",),
}


@pytest.mark.slow
@pytest.mark.parametrize("source", REAL_TEXTS)
@pytest.mark.parametrize("name", PUBLISHED)
def test_real_text_equals_transformers_in_published_vocabularies(tmp_path: Path, name: str, source: str) -> None:
    directory = published_directory(tmp_path, name)
    texts = lines_of(*REAL_TEXTS[source])
    assert_same_in_every_way(Tokenizer.load(directory), reference_tokenizer(directory), texts, lengths=(64,))
