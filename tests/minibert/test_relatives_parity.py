"""The tokenizers of RoBERTa and ALBERT against transformers': the same ids, segments and offsets, without a difference.

Their vocabularies are learned here: by the libraries that the published ones were learned with, or by ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers
from tokenizers import AddedToken

from minibert.config import BertConfig
from minibert.tokenizer import Tokenizer
from minibert.tokenizer.vocabulary import Kind
from tests.helpers import TINY, refusal
from tests.minibert.relatives import albert_files, roberta_files
from tests.minibert.tokenizer.test_parity import REAL_TEXTS, STRINGS, assert_same, assert_same_in_every_way, lines_of
from tests.minibert.unicode_strings import strings
from weights_convert.convert import tokenizer_fields, write_json

FAMILY = [
    "a <mask> b<mask>c  <mask>.",
    "<s> </s> <pad> <unk> <PAD> <MASK>",
    "``quoted'' it's we'll 2,000 and 3,",
    " leading, trailing and   several spaces ",
    "x\ty\n\nz \n",
    "Ġ▁ ▁the Ġthe",
]
TEXTS = [*STRINGS, *FAMILY] * 2
# Of which a tokenizer's files say the longest sequence, and whether there are segments.
SHAPES: dict[Kind, BertConfig] = {
    "bpe": TINY.replace(type_vocab_size=1, max_position_embeddings=514, pad_token_id=1, positions_skip_padding=True),
    "unigram": TINY.replace(max_position_embeddings=512),
}
CLASSES: dict[Kind, Any] = {"bpe": transformers.RobertaTokenizerFast, "unigram": transformers.AlbertTokenizer}

# Each makes a directory: the files of a published model, with its options.
PUBLISHED: dict[str, tuple[Kind, Callable[[Path, list[str], int], Path]]] = {
    "vocab.json": ("bpe", lambda d, texts, size: roberta_files(d, texts, size)),
    "vocab.json, with a space before": ("bpe", lambda d, t, size: roberta_files(d, t, size, add_prefix_space=True)),
    "spiece.model": ("unigram", lambda d, texts, size: albert_files(d, texts, size)),
    "spiece.model, cased": ("unigram", lambda d, texts, size: albert_files(d, texts, size, do_lower_case=False)),
    "spiece.model, accents": ("unigram", lambda d, texts, size: albert_files(d, texts, size, keep_accents=True)),
}


def words_of(tokenizer: Tokenizer) -> list[str]:
    """What the generated strings take from a vocabulary."""
    pieces = [tokenizer.shown(i).lstrip(" ▁") for i in range(tokenizer.vocab_size)]
    return [piece for piece in pieces if piece]


def reference_of(directory: Path, kind: Kind) -> Any:
    """transformers' tokenizer of published files, whose mask takes the space before it, as their config says."""
    reference = CLASSES[kind].from_pretrained(directory)
    if kind == "unigram":  # of a spiece.model transformers 5 takes the mask as the model has it, without flags
        flags = {"lstrip": True, "normalized": False, "special": True}
        reference.add_tokens([AddedToken("[MASK]", **flags)], special_tokens=True)
    return reference


def exported(ours: Tokenizer, directory: Path) -> Path:
    """What `to-hf` writes of a tokenizer."""
    ours.save(directory)
    write_json(directory / "tokenizer_config.json", tokenizer_fields(ours, SHAPES[ours.kind]))
    return directory


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files_equal_transformers(tmp_path: Path, name: str) -> None:
    kind, made = PUBLISHED[name]
    directory = made(tmp_path / "files", TEXTS, 600)
    ours, reference = Tokenizer.load(directory), reference_of(directory, kind)
    assert ours.kind == kind
    assert_same_in_every_way(ours, reference, [*TEXTS, *strings(150, words_of(ours), seed=1)], lengths=(7, 12, 33))


@pytest.mark.parametrize("name", PUBLISHED)
def test_transformers_own_tokenizer_json_is_read(tmp_path: Path, name: str) -> None:
    kind, made = PUBLISHED[name]
    reference = reference_of(made(tmp_path / "files", TEXTS, 600), kind)
    reference.save_pretrained(tmp_path / "theirs")
    ours = Tokenizer.load(tmp_path / "theirs")
    assert ours.fingerprint == Tokenizer.load(tmp_path / "files").fingerprint
    assert_same(ours, reference, TEXTS, TEXTS[::-1], 20)


@pytest.mark.parametrize(
    "metaspace", [{"prepend_scheme": "always", "split": True}, {"add_prefix_space": True}], ids=["4.57", "4.30"]
)
def test_a_file_that_transformers_4_wrote_of_an_albert_equals_transformers(
    metaspace: dict[str, Any], tmp_path: Path
) -> None:
    ours = Tokenizer.load(albert_files(tmp_path / "files", TEXTS, 600))
    directory = exported(ours, tmp_path / "old")
    content = json.loads((directory / "tokenizer.json").read_text(encoding="utf-8"))
    content["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", **metaspace}
    content["normalizer"]["normalizers"].append({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "})
    (directory / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    old = Tokenizer.load(directory)
    assert old.fingerprint == ours.fingerprint
    reference = transformers.AutoTokenizer.from_pretrained(directory)
    assert type(reference) is transformers.AlbertTokenizer
    assert_same_in_every_way(old, reference, [*TEXTS, *strings(100, words_of(ours), seed=5)], lengths=(12,))
    config = json.loads((directory / "tokenizer_config.json").read_text()) | {"tokenizer_class": "TokenizersBackend"}
    write_json(directory / "tokenizer_config.json", config)
    assert refusal(lambda: Tokenizer.load(directory)) == (
        f"{directory / 'tokenizer.json'}, pre_tokenizer: a TokenizersBackend would turn a space at the end of a "
        "text into a word; expected WhitespaceSplit before Metaspace, or tokenizer_class AlbertTokenizer in "
        "tokenizer_config.json"
    )
    generic = transformers.AutoTokenizer.from_pretrained(directory)
    assert generic("the ").input_ids != reference("the ").input_ids


@pytest.mark.parametrize("name", PUBLISHED)
def test_transformers_reads_what_we_write(tmp_path: Path, name: str) -> None:
    kind, made = PUBLISHED[name]
    ours = Tokenizer.load(made(tmp_path / "files", TEXTS, 600))
    directory = exported(ours, tmp_path / "ours")
    assert Tokenizer.load(directory).fingerprint == ours.fingerprint
    texts = [*TEXTS, *strings(100, words_of(ours), seed=2)]
    for made_by in (CLASSES[kind], transformers.AutoTokenizer):
        reference = made_by.from_pretrained(directory)
        assert type(reference) is CLASSES[kind]
        assert_same_in_every_way(ours, reference, texts, lengths=(12,))


@pytest.mark.parametrize("kind", CLASSES)
def test_a_vocabulary_that_we_learned_equals_transformers(tmp_path: Path, kind: Kind) -> None:
    ours = Tokenizer.train(TEXTS, vocab_size=600, kind=kind)
    reference = transformers.AutoTokenizer.from_pretrained(exported(ours, tmp_path))
    assert type(reference) is CLASSES[kind]
    texts = [*TEXTS, *strings(150, words_of(ours), seed=3)]
    assert_same_in_every_way(ours, reference, texts, lengths=(7, 33))
    ids = ours(texts[0]).input_ids[0].tolist()
    assert ours.decode(ids) == reference.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


@pytest.mark.parametrize("kind", CLASSES)
def test_added_words_equal_transformers(tmp_path: Path, kind: Kind) -> None:
    ours = Tokenizer.train(TEXTS, vocab_size=600, kind=kind)
    assert ours.add_tokens(["COVID", "新冠病毒"]) == 2
    reference = transformers.AutoTokenizer.from_pretrained(exported(ours, tmp_path))
    assert_same(ours, reference, ["a covid COVID, covids 人新冠病毒人", "COVID"], ["新冠病毒 COVID", ""])


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_generated_text_equals_transformers(tmp_path: Path, name: str) -> None:
    kind, made = PUBLISHED[name]
    directory = made(tmp_path, [*TEXTS, *lines_of("wikitext-2/valid.txt")], 2_000)
    ours, reference = Tokenizer.load(directory), reference_of(directory, kind)
    assert_same_in_every_way(ours, reference, strings(20_000, words_of(ours), seed=4), lengths=(24,))


@pytest.mark.slow
@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("source", REAL_TEXTS)
def test_real_text_equals_transformers(tmp_path: Path, kind: Kind, source: str) -> None:
    texts = lines_of(*REAL_TEXTS[source])
    learned = [text for text in texts if not re.search(r"\d,", text)]  # of such pieces transformers 5 knows nothing
    made = PUBLISHED["vocab.json" if kind == "bpe" else "spiece.model"][1]
    directory = made(tmp_path, learned[:4_000], 4_000)
    ours, reference = Tokenizer.load(directory), reference_of(directory, kind)
    assert_same_in_every_way(ours, reference, texts, lengths=(40,))
