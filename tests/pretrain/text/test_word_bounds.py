"""Words of Chinese by jieba, and their characters hidden together."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

from minibert.tokenizer import Tokenizer
from minibert.tokenizer.vocabulary import Kind
from pretrain.arrays.prepare import PrepareOptions, prepare
from pretrain.arrays.shards import open_prepared
from pretrain.batches.batch import BatchMaker
from pretrain.batches.masking import Masker
from pretrain.batches.pairs import PairOptions, PairPlan
from pretrain.text.word_bounds import goes_on, word_cutter
from tests.helpers import REPOSITORY
from tests.pretrain.arrays.test_prepare import prepared
from tests.pretrain.running import run_here, write_shape

WAIMAI = REPOSITORY.parent / "shared" / "data" / "waimai_10k.csv"

# The example of Cui et al. 2019, table 1, and what else may stand in a Chinese text, as jieba cuts it (餐员 too).
TEXTS = {
    "使用语言模型来预测下一个词的概率。": "使用 语言 模型 来 预测 下 一个 词 的 概率 。",
    "送餐员很热情,卡拉OK和T恤": "送 餐员 很 热情 , 卡拉 OK 和 T恤",
    "我love北京天安门 tokenization": "我 love 北京 天安门 tokenization",
}


def words(tokenizer: Tokenizer, text: str) -> list[str]:
    """The text as its tokens are grouped."""
    ((ids, offsets),) = tokenizer.encode_plain_with_offsets([text])
    together = goes_on(text, offsets, tokenizer.continuation_mask[ids].tolist(), word_cutter("jieba"))
    found: list[list[int]] = []
    for token, continues in zip(ids, together, strict=True):
        if continues:
            found[-1].append(token)
        else:
            found.append([token])
    return [tokenizer.decode(word).replace(" ", "") for word in found]


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
@pytest.mark.parametrize("text", TEXTS)
def test_characters_of_a_word_go_together(text: str, kind: Kind) -> None:
    # Few merges: a Chinese character of byte-level BPE is then two or three pieces.
    tokenizer = Tokenizer.train([*TEXTS, "token iz ation"], vocab_size=270 if kind == "bpe" else 120, kind=kind)
    expected = TEXTS[text] if kind == "bpe" else TEXTS[text].lower()
    assert words(tokenizer, text) == expected.split()


def test_without_a_segmenter_every_character_is_a_word() -> None:
    tokenizer = Tokenizer.train([*TEXTS], vocab_size=120)
    (ids,) = tokenizer.encode_plain(["使用语言模型"])
    assert not tokenizer.continuation_mask[ids].any()


def test_prepared_words_are_chosen_together(tmp_path: Path) -> None:
    texts = [f"使用语言模型来预测下一个词的概率{chr(0x4E00 + i)}。使用语言模型。" for i in range(40)]
    corpus = prepared(tmp_path, texts, word_segmenter="jieba", nsp=False)
    tokens, continues = corpus.train.tokens, corpus.train.continues_word
    assert continues is not None and len(continues) == len(tokens)
    bounds = slice(*corpus.train.sentence_starts[1:3])
    shown = [corpus.tokenizer.id_to_token(int(token)) for token in tokens[bounds]]
    assert [f"+{token}" if flag else token for token, flag in zip(shown, continues[bounds], strict=True)] == [
        *["使", "+用", "语", "+言", "模", "+型", "。"]
    ]
    pairs = PairOptions(32, "none")
    maker = BatchMaker(
        corpus.train, corpus.tokenizer, pairs, Masker.of(corpus.tokenizer, rate=0.3, whole_words=True), seed=1
    )
    planned = PairPlan(corpus.train, pairs, seed=1).pairs(0, 200)
    for pair, asked in zip(planned, maker.examples(planned, np.arange(200)).asked, strict=True):
        chosen = asked[1 : 1 + pair["a_length"]]
        inside = continues[pair["a_start"] : pair["a_start"] + pair["a_length"]]
        # What goes on with a word shares its fate.
        assert (chosen[1:] == chosen[:-1])[inside[1:]].all()


def test_one_process_and_three_find_the_same_words(tmp_path: Path) -> None:
    texts = [f"送餐员很热情,味道也不错。第{i}次。" for i in range(30)]
    one, three = (prepared(tmp_path, texts, f"a{n}", word_segmenter="jieba", workers=n) for n in (1, 3))
    assert one.manifest.files["train/continues_word.bin"] == three.manifest.files["train/continues_word.bin"]


def chinese(directory: Path) -> Path:
    """A corpus of forty short documents."""
    path = directory / "text.txt"
    path.write_text("\n\n".join(f"送餐员很热情,味道也不错。第{i}次。" for i in range(40)), encoding="utf-8")
    return path


def test_a_missing_segmenter_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "jieba", None)
    out = tmp_path / "arrays"
    assert (
        run_here(monkeypatch, "prepare", "--corpus", chinese(tmp_path), "--out", out, "--word-segmenter", "jieba") == 2
    )
    message = "--word-segmenter jieba needs the optional dependency `zh`: pip install -e '.[zh]' in minibert's checkout"
    assert capsys.readouterr().err == f"error: {message}\n"
    assert not out.exists()


def test_a_run_masks_whole_chinese_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shape, out = write_shape(tmp_path / "shape.json"), tmp_path / "run"
    arguments = ("--corpus", chinese(tmp_path), "--out", out, "--model", shape, "--vocab-size", 100, "--no-nsp")
    words = ("--whole-word-mask", "--word-segmenter", "jieba")
    assert run_here(monkeypatch, *arguments, *words, "--steps", 2, "--seq-len", 16, "--batch-size", 4) == 0
    capsys.readouterr()
    shown = ("inspect", "--data", out / "data", "--no-nsp", "--seq-len", 16, "--count", 30, "--mask-rate", 0.3)
    assert run_here(monkeypatch, *shown, "--whole-word-mask") == 0
    for line in capsys.readouterr().out.splitlines():
        assert ("{味" in line) == ("{道" in line), line
        assert ("{不" in line) == ("{错" in line), line


@pytest.mark.slow
def test_real_reviews_are_cut_into_the_segmenters_words(tmp_path: Path) -> None:
    if not WAIMAI.is_file():
        pytest.skip(f"{WAIMAI} is missing (shared data of the project's developers)")
    with WAIMAI.open(encoding="utf-8", newline="") as file:
        reviews = [row["review"] for row in csv.DictReader(file)][:3_000]
    tokenizer = Tokenizer.train(reviews, vocab_size=5_000)
    cut = word_cutter("jieba")
    for review in reviews:
        ((ids, offsets),) = tokenizer.encode_plain_with_offsets([review])
        together = goes_on(review, offsets, tokenizer.continuation_mask[ids].tolist(), cut)
        begins = {start for (start, _), flag in zip(offsets, together, strict=True) if not flag}
        chinese = {start for start, end in cut(review) if "\u4e00" <= review[start] <= "\u9fff"}
        inside = {
            at for start, end in cut(review) for at in range(start + 1, end) if "\u4e00" <= review[at] <= "\u9fff"
        }
        assert chinese <= begins
        assert not inside & begins
    path = tmp_path / "reviews.txt"
    path.write_text("\n\n".join(reviews), encoding="utf-8")
    prepare(PrepareOptions(corpus=(str(path),), word_segmenter="jieba", vocab_size=5_000), tmp_path / "arrays")
    continues = open_prepared(tmp_path / "arrays").train.continues_word
    assert continues is not None
    assert 0.3 < continues.mean() < 0.5
