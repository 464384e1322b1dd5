"""python -m minibert add-tokens, and the function that it is made of: new words, a token and a row each."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import transformers
from torch import Tensor
from torch.testing import assert_close

import minibert
from minibert import checkpoint
from minibert.architectures import ARCHITECTURES
from minibert.growing import Growth, NewToken, grow_vocabulary
from minibert.heads import BertForMaskedLM, Model
from minibert.tokenizer import Tokenizer
from tests.helpers import REPOSITORY, TINY, contents, randomize, refusal, seeded, tiny_model
from tests.minibert.running import error_line, run
from tests.pretrain.running import run_here, write_text
from weights_convert.convert import from_hf, to_hf

CHINESE_VOCABULARY = REPOSITORY.parent / "shared" / "data" / "vocab" / "bert-base-chinese-vocab.txt"

WORDS = ["新冠病毒", "高血压", "脑梗塞"]
TEXT = "患者有高血压病史,感染新冠病毒后脑梗塞。"

# Ids 0 to 33, one token a character or word here.
TOKENS = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *"新冠病毒高血压脑梗塞患者有史感染后老,。",
    *("cov", "##id", "##s", "flu", "a", "-", "19", "##9", "b"),
]  # fmt: skip


@pytest.fixture
def chinese(tmp_path: Path) -> Tokenizer:
    """The vocabulary TOKENS."""
    (tmp_path / "vocab.txt").write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    return Tokenizer.load(tmp_path / "vocab.txt")


def model_for(tokenizer: Tokenizer, architecture: str = "BertForPreTraining", unused: int = 0) -> Model:
    """A model of a class, every parameter random, with so many rows beyond the tokenizer's."""
    model = tiny_model(architecture, TINY.replace(vocab_size=tokenizer.vocab_size + unused))
    randomize(model, seed=5)
    return model


@pytest.fixture
def directory(chinese: Tokenizer, tmp_path: Path) -> Path:
    """That vocabulary and a pretraining model for it, saved."""
    checkpoint.save(model_for(chinese), chinese, tmp_path / "model")
    return tmp_path / "model"


def tokens_of(tokenizer: Tokenizer, text: str) -> list[str]:
    return tokenizer.tokens(tokenizer.encode_plain([text])[0])


def token_rows(model: Model) -> Tensor:
    return model.encoder.embeddings.token.weight.detach().clone()


def others(model: Model) -> dict[str, Tensor]:
    """Every parameter that does not grow with the vocabulary."""
    growing = ("embeddings.token.weight", "decoder.bias")
    return {name: t.detach().clone() for name, t in model.named_parameters() if not name.endswith(growing)}


# --- Tokens ----------------------------------------------------------------------------------------------------------


def test_each_word_is_one_token_inside_running_text(chinese: Tokenizer) -> None:
    assert tokens_of(chinese, TEXT) == list(TEXT)
    growth = grow_vocabulary(model_for(chinese), chinese, WORDS)
    assert growth == Growth(
        added=(
            NewToken("新冠病毒", 34, (5, 6, 7, 8)),
            NewToken("高血压", 35, (9, 10, 11)),
            NewToken("脑梗塞", 36, (12, 13, 14)),
        ),
        known=(),
    )
    assert "|".join(tokens_of(chinese, TEXT)) == "患|者|有|高血压|病|史|,|感|染|新冠病毒|后|脑梗塞|。"


def test_words_are_normalised_and_those_that_are_tokens_are_told_apart(chinese: Tokenizer) -> None:
    words = ["COVID", "flu", " 新 ", "covid", "FLU", "[MASK]", "Covid-19", "新冠", "zebra"]
    model = model_for(chinese)
    assert grow_vocabulary(model, chinese, words) == Growth(
        added=(
            NewToken("covid", 34, (25, 26)),
            NewToken("covid-19", 35, (25, 26, 30, 31)),
            NewToken("新冠", 36, (5, 6)),
            NewToken("zebra", 37, (1,)),  # [UNK]
        ),
        known=("flu", "新", "[MASK]"),
    )
    assert_close(token_rows(model)[37], token_rows(model)[1], rtol=0, atol=0)
    found = tokens_of(chinese, "COVID-19 covids,COVID-a")
    assert found == ["covid-19", "cov", "##id", "##s", ",", "covid", "-", "a"]


def test_where_all_words_are_tokens_nothing_changes(chinese: Tokenizer) -> None:
    model, fingerprint = model_for(chinese), chinese.fingerprint
    parameters = list(model.parameters())
    assert grow_vocabulary(model, chinese, ["flu", "病"]) == Growth(added=(), known=("flu", "病"))
    assert (chinese.fingerprint, chinese.vocab_size, model.config.vocab_size) == (fingerprint, 34, 34)
    assert all(new is old for new, old in zip(model.parameters(), parameters, strict=True))


# --- Rows ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_new_rows_are_the_mean_of_their_pieces_and_nothing_else_changes(
    architecture: str, dtype: torch.dtype, chinese: Tokenizer
) -> None:
    model = model_for(chinese, architecture).to(dtype)
    rows, rest = token_rows(model), others(model)
    grow_vocabulary(model, chinese, WORDS)
    assert model.config.vocab_size == model.encoder.config.vocab_size == 37
    grown = model.encoder.embeddings.token
    assert (grown.num_embeddings, grown.padding_idx, grown.weight.dtype) == (37, 0, dtype)
    assert_close(grown.weight[:34], rows, rtol=0, atol=0)
    means = torch.stack([(rows[5].double() + rows[6] + rows[7] + rows[8]) / 4, rows[9:12].double().mean(0),
                         (rows[12].double() + rows[13] + rows[14]) / 3])  # fmt: skip
    assert_close(grown.weight[34:].detach(), means.to(dtype), rtol=1e-6, atol=1e-7)
    assert_close(others(model), rest, rtol=0, atol=0)


@pytest.mark.parametrize("architecture", ["BertForPreTraining", "BertForMaskedLM"])
def test_the_decoder_stays_tied_and_a_new_bias_is_the_mean_of_the_pieces(architecture: str, chinese: Tokenizer) -> None:
    model = model_for(chinese, architecture)
    before = model.mlm_head.decoder.bias.detach().clone()
    grow_vocabulary(model, chinese, WORDS)
    decoder = model.mlm_head.decoder
    assert decoder.weight is model.encoder.embeddings.token.weight
    assert decoder.out_features == 37
    assert_close(decoder.bias[:34], before, rtol=0, atol=0)
    assert_close(decoder.bias[34:], torch.stack([before[5:9].mean(), before[9:12].mean(), before[12:15].mean()]))
    # Which makes the score of a word, in any context, the mean of its pieces' scores.
    scores = model.mlm_head(torch.randn(50, 24, generator=seeded(2)))
    assert_close(scores[:, 35], scores[:, 9:12].mean(1))


def test_rows_that_no_token_has_are_used_first(chinese: Tokenizer) -> None:
    model = model_for(chinese, unused=4)
    rows = token_rows(model)
    grow_vocabulary(model, chinese, WORDS)
    assert (chinese.vocab_size, model.config.vocab_size) == (37, 38)
    assert_close(token_rows(model)[36], rows[12:15].mean(0))
    assert_close(token_rows(model)[37], rows[37], rtol=0, atol=0)  # which still has none
    grow_vocabulary(model, chinese, ["病毒", "血压"])
    assert (chinese.vocab_size, model.config.vocab_size) == (39, 39)
    assert_close(token_rows(model)[37:], torch.stack([rows[7:9].mean(0), rows[10:12].mean(0)]))
    assert_close(token_rows(model)[:34], rows[:34], rtol=0, atol=0)


def test_random_rows_are_drawn_from_the_generator(chinese: Tokenizer) -> None:
    words = [
        f"{first}{second}" for first in "新冠病毒高血压脑梗塞患者有史感染" for second in "后史病毒高血压脑梗塞患者感染"
    ]
    model = model_for(chinese)
    before = model.mlm_head.decoder.bias.detach().clone()
    added = grow_vocabulary(model, chinese, words, init="random", generator=seeded(4)).added
    assert len(added) > 200
    drawn = token_rows(model)[34:]
    assert_close(drawn, torch.randn(drawn.shape, generator=seeded(4)) * 0.02, rtol=0, atol=0)
    means = torch.stack([before[list(token.piece_ids)].mean() for token in added])
    assert_close(model.mlm_head.decoder.bias[34:].detach(), means)  # of which 0 would say: rather often


def test_the_grown_model_can_learn(chinese: Tokenizer) -> None:
    model = model_for(chinese).train()
    grow_vocabulary(model, chinese, WORDS)
    batch = chinese(TEXT)
    model(batch.input_ids, masked_positions=torch.tensor([3])).mlm.sum().backward()
    gradient = model.encoder.embeddings.token.weight.grad
    assert gradient is not None and bool(gradient[34:].any(1).all())


def test_what_is_frozen_stays_frozen(chinese: Tokenizer) -> None:
    model = model_for(chinese).requires_grad_(False)
    grow_vocabulary(model, chinese, WORDS)
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no word to add"),
        (["高血压", ""], "token to add '': expected a word on one line that does not begin with ##"),
        (["高血压", "新\n冠"], "token to add '新\\n冠': expected a word on one line that does not begin with ##"),
        (["高血压", "##压"], "token to add '##压': expected a word on one line that does not begin with ##"),
        (["高血压", "[MASK]s"], "token to add '[MASK]s': it would still be cut into [MASK] [UNK]"),
        (["高血压", "\udcff"], "token to add '\\udcff': expected Unicode text, found a lone surrogate"),
    ],
)
def test_words_that_cannot_be_tokens_change_nothing(words: Sequence[str], message: str, chinese: Tokenizer) -> None:
    model, fingerprint = model_for(chinese), chinese.fingerprint
    rows = token_rows(model)
    assert refusal(lambda: grow_vocabulary(model, chinese, words)) == message
    assert (chinese.fingerprint, model.config.vocab_size) == (fingerprint, 34)
    assert_close(token_rows(model), rows, rtol=0, atol=0)


# --- The command -----------------------------------------------------------------------------------------------------


def test_the_command_says_what_became_of_each_word(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(directory)
    out = tmp_path / "new" / "out"
    assert run(monkeypatch, "add-tokens", str(directory), str(out), "--tokens", *WORDS, "COVID", "flu") == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert [line.split() for line in shown.out.splitlines()] == [
        ["4", "added"],
        ["34", "新冠病毒", "was", "新", "冠", "病", "毒"],
        ["35", "高血压", "was", "高", "血", "压"],
        ["36", "脑梗塞", "was", "脑", "梗", "塞"],
        ["37", "covid", "was", "cov", "##id"],
        ["1", "already", "in", "the", "vocabulary:", "flu"],
        [],
        ["vocab_size", "34", "->", "38;", "written", "to", str(out)],
    ]
    assert contents(directory) == before
    assert json.loads((out / "config.json").read_text())["vocab_size"] == 38
    old, new = minibert.load(directory)[0], minibert.load(out)[0]
    assert_close(others(new), others(old), rtol=0, atol=0)
    assert_close(token_rows(new)[35], token_rows(old)[9:12].mean(0))
    assert new.mlm_head.decoder.weight is new.encoder.embeddings.token.weight


def test_words_in_a_file_are_the_same_as_words_given(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "words").write_text("新冠病毒\n\n  \r\nCOVID\r\n高血压", encoding="utf-8")
    assert run(monkeypatch, "add-tokens", str(directory), str(tmp_path / "a"), "--tokens", str(tmp_path / "words")) == 0
    given = ["新冠病毒", "COVID", "高血压"]
    assert run(monkeypatch, "add-tokens", str(directory), str(tmp_path / "b"), "--tokens", *given) == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert minibert.load(tmp_path / "a")[1].vocab_size == 37


def test_a_word_longer_than_a_file_name_may_be_is_a_word(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(monkeypatch, "add-tokens", str(directory), str(tmp_path / "out"), "--tokens", "x" * 300) == 0
    assert minibert.load(tmp_path / "out")[1](f"a {'X' * 300} a").input_ids.tolist() == [[2, 29, 34, 29, 3]]


def test_a_named_pipe_is_no_word(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "words")
    args = [str(directory), str(tmp_path / "out"), "--tokens", str(tmp_path / "words")]
    assert run(monkeypatch, "add-tokens", *args) == 2
    assert f"{tmp_path}/words is a named pipe, expected a file" in capsys.readouterr().err


def test_the_seed_decides_random_rows(directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        args = ["--tokens", *WORDS, "--init", "random", "--seed", seed]
        assert run(monkeypatch, "add-tokens", str(directory), str(tmp_path / name), *args) == 0
    first, again, other = (contents(tmp_path / name) for name in "abc")
    assert first == again
    assert first["model.safetensors"] != other["model.safetensors"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("none", "out", "--tokens", "病毒"), "{tmp}/none is not a model directory: it has no config.json"),
        (("model", "there", "--tokens", "病毒"), "{tmp}/there already exists; choose a new directory"),
        (("model", "out", "--tokens"), "no word to add"),
        (("model", "out", "--tokens", ""), "token to add '': expected a word on one line that does not begin with ##"),
        (
            ("model", "out", "--tokens", "病毒", "two\nlines"),
            r"token to add 'two\nlines': expected a word on one line that does not begin with ##",
        ),
        (
            ("model", "out", "--tokens", "##ing"),
            "token to add '##ing': expected a word on one line that does not begin with ##",
        ),
        (
            ("model", "out", "--tokens", "[SEP]a"),
            "token to add '[SEP]a': it would still be cut into [SEP] a",
        ),
        (
            ("model", "out", "--tokens", "FILE:bad.txt"),
            "{tmp}/bad.txt, line 3: token to add '##压': expected a word on one line that does not begin with ##",
        ),
        (("model", "out", "--tokens", "FILE:blank.txt"), "{tmp}/blank.txt: expected one word per line, found none"),
        (("model", "out", "--tokens", "FILE:empty.txt"), "{tmp}/empty.txt: expected one text per line, found nothing"),
        (("model", "out", "--tokens", "FILE:none.txt"), "{tmp}/none.txt cannot be read (No such file or directory)"),
        (
            ("model", "out", "--tokens", "FILE:latin.txt"),
            "{tmp}/latin.txt:2: not UTF-8 at byte 9, expected UTF-8 text; it is probably WINDOWS-1252: iconv -f "
            "WINDOWS-1252 -t UTF-8 < {tmp}/latin.txt > utf8-latin.txt",
        ),
        (("model", "out", "--tokens", "病毒", "--seed", "-1"), "--seed must be from 0 to 4294967295, not -1"),
    ],
)
def test_the_command_refuses_in_one_line_and_leaves_nothing(
    args: tuple[str, ...],
    message: str,
    directory: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "bad.txt").write_text("病毒\n\n##压\n", encoding="utf-8")
    (tmp_path / "blank.txt").write_text("\n  \n")
    (tmp_path / "empty.txt").touch()
    (tmp_path / "latin.txt").write_bytes(b"covid\ncaf\xe9\n")
    before = (contents(tmp_path), sorted(tmp_path.rglob("*")))
    source, out, *rest = args
    rest = [str(tmp_path / word.removeprefix("FILE:")) if word.startswith("FILE:") else word for word in rest]
    assert run(monkeypatch, "add-tokens", str(tmp_path / source), str(tmp_path / out), *rest) == 2
    assert error_line(capsys) == "error: " + message.format(tmp=tmp_path)
    assert (contents(tmp_path), sorted(tmp_path.rglob("*"))) == before


# --- What can be done with the result --------------------------------------------------------------------------------


@pytest.fixture
def grown(directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """What the command makes of `directory` and WORDS and two Latin words."""
    args = ["--tokens", *WORDS, "COVID", "Covid-19"]
    assert run(monkeypatch, "add-tokens", str(directory), str(tmp_path / "grown"), *args) == 0
    capsys.readouterr()
    return tmp_path / "grown"


def test_info_and_fill_mask_know_the_new_words(
    grown: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "info", str(grown)) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert {"vocab_size 39", "tokens in the vocabulary 39"} <= set(lines)
    assert run(monkeypatch, "fill-mask", str(grown), "患者有[MASK]病史", "--top-k", "39") == 0
    answers = [line.split()[-1] for line in capsys.readouterr().out.splitlines()[1:]]
    assert sorted(answers) == sorted([*TOKENS, *WORDS, "covid", "covid-19"])
    # As likely as the geometric mean of its pieces: it stands between them.
    assert answers.index("高血压") > min(map(answers.index, "高血压"))
    assert answers.index("高血压") < max(map(answers.index, "高血压"))


def test_it_goes_to_transformers_and_back(grown: Path, tmp_path: Path) -> None:
    to_hf(grown, tmp_path / "hf")
    from_hf(tmp_path / "hf", tmp_path / "back")
    assert contents(tmp_path / "back") == contents(grown)

    texts = [TEXT, "COVID-19 covids covid", "新冠病毒新冠[MASK]高血压", ""]
    model, tokenizer = minibert.load(grown)
    reference_tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    encoded = reference_tokenizer(texts, padding=True, return_tensors="pt")
    batch = tokenizer(texts)
    assert batch.input_ids.tolist() == encoded["input_ids"].tolist()
    reference = transformers.AutoModelForPreTraining.from_pretrained(tmp_path / "hf").eval()
    with torch.no_grad():
        found = model(batch.input_ids, attention_mask=batch.attention_mask, masked_positions=torch.arange(len(texts)))
        expected = reference(**encoded).prediction_logits
    assert found.mlm.shape == (4, 39)
    assert_close(found.mlm, expected.flatten(0, 1)[:4], rtol=0, atol=1e-5)


def test_pretraining_goes_on_from_it(
    grown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [f"患者{word}有高血压病史。感染新冠病毒后{word}脑梗塞。covid-19后。" for word in TOKENS[5:25]] * 5
    corpus = write_text(tmp_path / "texts.txt", texts)
    args = ["--corpus", corpus, "--out", tmp_path / "run", "--init", grown, "--seq-len", 16, "--steps", 3]
    assert run_here(monkeypatch, *args, "--batch-size", 8, "--dtype", "float32", "--device", "cpu") == 0
    before, tokenizer = minibert.load(grown)
    after, trained_tokenizer = minibert.load(tmp_path / "run")
    assert trained_tokenizer.fingerprint == tokenizer.fingerprint
    assert after.config.vocab_size == 39
    moved = (token_rows(after) - token_rows(before)).abs().amax(1)
    assert all(moved[tokenizer.token_to_id(word)] > 1e-5 for word in WORDS)


# --- The published Chinese vocabulary --------------------------------------------------------------------------------


def test_the_published_chinese_vocabulary_learns_three_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not CHINESE_VOCABULARY.exists():
        pytest.skip(f"{CHINESE_VOCABULARY} is not there")
    tokenizer = Tokenizer.load(CHINESE_VOCABULARY)
    old = BertForMaskedLM(TINY.replace(vocab_size=21128), generator=seeded(1))
    checkpoint.save(old, tokenizer, tmp_path / "chinese")
    args = [str(tmp_path / "chinese"), str(tmp_path / "medical"), "--tokens", *WORDS]
    assert run(monkeypatch, "add-tokens", *args) == 0
    model, tokenizer = minibert.load(tmp_path / "medical")
    assert "|".join(tokens_of(tokenizer, TEXT)) == "患|者|有|高血压|病|史|,|感|染|新冠病毒|后|脑梗塞|。"
    assert [tokenizer.token_to_id(word) for word in WORDS] == [21128, 21129, 21130]
    rows = token_rows(old)
    for word in WORDS:
        pieces = [tokenizer.token_to_id(character) for character in word]
        assert_close(token_rows(model)[tokenizer.token_to_id(word)], rows[pieces].mean(0))
    assert_close(token_rows(model)[:21128], rows, rtol=0, atol=0)
