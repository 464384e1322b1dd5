"""python -m minibert embed, and the function that it is made of."""

from __future__ import annotations

import gzip
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy.stats import spearmanr

import minibert
from minibert import checkpoint
from minibert.architectures import ARCHITECTURES
from minibert.commands import embed as embed_command
from minibert.embedding import batches_by_length, embed
from minibert.heads import BertForPreTraining, Model
from minibert.model import Bert
from minibert.tokenizer import Tokenizer
from tests.helpers import REPOSITORY, TINY, contents, full_disk, randomize, refusal, tiny_model
from tests.minibert.running import error_line, run
from tests.weights_convert.reference_models import real_directory
from weights_convert.convert import from_hf

STSB = REPOSITORY.parent / "shared" / "data" / "stsb" / "sts-test.csv"

# Of 8, 3, 2, 14, 8 and 2 tokens, [CLS] and [SEP] counted; 🦠 is [UNK], and nothing is left of U+200D.
TEXTS = ["the cat and the dog", "🦠", "", "the " * 12, "The dog\tand the cat", "\u200d"]


@pytest.fixture(params=list(ARCHITECTURES))
def any_model(request: pytest.FixtureRequest) -> Model:
    """A model of each class for the fixture `tokenizer`, every parameter random."""
    model = tiny_model(request.param, TINY.replace(vocab_size=80))
    randomize(model, seed=5)
    return model


@pytest.fixture
def directory(tokenizer: Tokenizer, tmp_path: Path) -> Path:
    """The directory of a bare encoder."""
    model = Bert(TINY.replace(vocab_size=80))
    randomize(model, seed=5)
    checkpoint.save(model, tokenizer, tmp_path / "model")
    return tmp_path / "model"


@torch.no_grad()
def one_by_one(model: Model, tokenizer: Tokenizer, texts: Sequence[str], pooling: str) -> NDArray[np.float32]:
    """What `embed` should give: each text alone, so that nothing is padded and nothing masked."""
    states = [model.encoder(tokenizer(text).input_ids)[0] for text in texts]
    pool = {"mean": lambda state: state.mean(0), "cls": lambda state: state[0], "max": lambda state: state.amax(0)}
    return torch.stack([pool[pooling](state) for state in states]).numpy()


# --- The function ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_every_class_embeds_ragged_texts_in_their_order(pooling: str, any_model: Model, tokenizer: Tokenizer) -> None:
    assert tokenizer(TEXTS).lengths.tolist() == [8, 3, 2, 14, 8, 2]
    expected = one_by_one(any_model, tokenizer, TEXTS, pooling)
    for batch_tokens in (1, 14, 20, 48, 2048):
        found = embed(any_model, tokenizer, TEXTS, pooling=pooling, batch_tokens=batch_tokens)
        assert (found.dtype, found.shape) == (np.float32, (6, 24))
        assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert (
        np.abs(expected[0] - expected[3]).max() > 0.01
    )  # a thousand times the tolerance: an order is there to be kept


def test_normalized_vectors_have_the_length_1_and_the_same_direction(model: Model, tokenizer: Tokenizer) -> None:
    plain, unit = (embed(model, tokenizer, TEXTS, normalize=normalize) for normalize in (False, True))
    assert_allclose(np.linalg.norm(unit, axis=1), np.ones(6), atol=1e-6)
    assert_allclose(unit * np.linalg.norm(plain, axis=1, keepdims=True), plain, rtol=0, atol=1e-5)


def test_an_empty_text_is_the_mean_of_its_special_tokens(model: Model, tokenizer: Tokenizer) -> None:
    with torch.no_grad():
        expected = model.encoder(torch.tensor([[tokenizer.cls_id, tokenizer.sep_id]]))[0].mean(0)
    assert_allclose(embed(model, tokenizer, ["", "the cat"])[0], expected, rtol=0, atol=1e-6)


def test_a_long_text_is_cut_as_the_tokenizer_cuts(model: Model, tokenizer: Tokenizer) -> None:
    long = "the cat and the dog " * 10
    with torch.no_grad():
        expected = [model.encoder(tokenizer(long, max_length=length).input_ids)[0].mean(0) for length in (3, 9, 16)]
    for length, vector in zip((3, 9, None), expected, strict=True):  # None: the model's 16 positions
        assert_allclose(embed(model, tokenizer, long, max_length=length)[0], vector, rtol=0, atol=1e-6)


def test_no_text_is_no_row_and_one_string_is_one_text(model: Model, tokenizer: Tokenizer) -> None:
    assert embed(model, tokenizer, []).shape == (0, 24)
    assert embed(model, tokenizer, "the cat").shape == (1, 24)
    assert minibert.embed is embed


def test_a_model_in_training_is_embedded_without_dropout_and_stays_in_training(tokenizer: Tokenizer) -> None:
    model = BertForPreTraining(TINY.replace(vocab_size=80, hidden_dropout_prob=0.5))
    expected = embed(model.eval(), tokenizer, TEXTS)
    assert np.array_equal(embed(model.train(), tokenizer, TEXTS), expected)
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize(
    ("batch_tokens", "expected"),
    [
        (1, [[1], [4], [3], [5], [0], [2], [6]]),  # one text at least
        (10, [[1], [4], [3, 5], [0, 2, 6]]),  # padding counts: two of 5 and 4 tokens take 10
        (15, [[1], [4], [3, 5, 0], [2, 6]]),
        (1000, [[1, 4, 3, 5, 0, 2, 6]]),
    ],
)
def test_batches_hold_texts_of_like_length_the_longest_first(batch_tokens: int, expected: list[list[int]]) -> None:
    sequences = [np.zeros(length, np.int32) for length in (3, 9, 3, 5, 9, 4, 3)]
    assert [rows.tolist() for rows in batches_by_length(sequences, batch_tokens)] == expected


def test_only_a_batch_with_padding_has_a_mask(model: Model, tokenizer: Tokenizer) -> None:
    masks = []
    model.encoder.register_forward_pre_hook(
        lambda module, args, kwargs: masks.append(kwargs["attention_mask"]), with_kwargs=True
    )
    embed(model, tokenizer, ["the cat", "the", "the dog", ""], batch_tokens=8)
    assert masks[0] is None  # "the cat" and "the dog"
    assert masks[1].tolist() == [[True, True, True], [True, True, False]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_tokens": 0}, "a batch must have at least 1 token, not 0"),
        ({"max_length": 2}, "the max length must be from 3 to 16, the model's positions, not 2"),
        ({"max_length": 17}, "the max length must be from 3 to 16, the model's positions, not 17"),
        ({"pooling": "min"}, "the pooling must be mean, cls or max, not 'min'"),
    ],
)
def test_options_out_of_range_are_refused(
    options: dict[str, object], message: str, model: Model, tokenizer: Tokenizer
) -> None:
    assert refusal(lambda: embed(model, tokenizer, TEXTS, **options)) == message


def test_a_text_that_is_no_unicode_is_named_by_its_number(model: Model, tokenizer: Tokenizer) -> None:
    texts = ["a"] * 1500 + ["b\ud800"]  # more than are tokenized at once
    assert refusal(lambda: embed(model, tokenizer, texts)).startswith("text 1501, character 1: ")


# --- The command -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["plain", "packed", "standard input"])
def test_the_command_writes_a_row_a_line(
    form: str,
    directory: Path,
    tokenizer: Tokenizer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = "\n".join(TEXTS).encode()  # of the last line, U+200D, there is nothing but its end to be lost
    source, output = tmp_path / f"texts{'.gz' if form == 'packed' else ''}", tmp_path / "vectors.npy"
    source.write_bytes(gzip.compress(content) if form == "packed" else content)
    if form == "standard input":
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        source = Path("-")
    assert run(monkeypatch, "embed", str(directory), "--input", str(source), "--output", str(output)) == 0
    model, _ = minibert.load(directory)
    found = np.load(output)
    assert found.dtype == np.float32
    assert_allclose(found, one_by_one(model, tokenizer, TEXTS, "mean"), rtol=0, atol=1e-5)
    shown = capsys.readouterr()
    assert shown.err == ""
    assert shown.out.splitlines()[1:] == [f"{output}: 6 x 24, float32"]
    assert shown.out.startswith("6 texts in ")
    assert list(tmp_path.glob("*.partial")) == list(tmp_path.glob(".*.partial")) == []


def test_the_options_reach_the_function_and_what_is_cut_is_said(
    directory: Path,
    tokenizer: Tokenizer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "texts").write_text("\n".join(TEXTS), encoding="utf-8")
    args = ["embed", str(directory), "--input", str(tmp_path / "texts"), "--output", str(tmp_path / "vectors.npy")]
    assert run(monkeypatch, *args, "--pooling", "cls", "--normalize", "--max-length", "8", "--batch-tokens", "16") == 0
    assert capsys.readouterr().out.splitlines()[0] == "cut at 8 tokens: 1 of 6 texts"
    model, _ = minibert.load(directory)
    expected = embed(model, tokenizer, TEXTS, pooling="cls", normalize=True, max_length=8)
    assert_allclose(np.load(tmp_path / "vectors.npy"), expected, rtol=0, atol=1e-6)


def test_a_length_that_is_asked_for_and_not_is_refused(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["embed", str(directory), "--input", "texts", "--output", str(tmp_path / "v.npy")]
    assert run(monkeypatch, *args, "--normalize", "--no-normalize") == 2
    assert error_line(capsys) == "error: --normalize and --no-normalize: expected only one of them"


def test_bfloat16_is_computed_in_bfloat16_and_written_in_float32(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "texts").write_text("\n".join(TEXTS), encoding="utf-8")
    for dtype in ("float32", "bfloat16"):
        args = ["--input", str(tmp_path / "texts"), "--output", str(tmp_path / f"{dtype}.npy"), "--dtype", dtype]
        assert run(monkeypatch, "embed", str(directory), *args) == 0
    exact, coarse = np.load(tmp_path / "float32.npy"), np.load(tmp_path / "bfloat16.npy")
    assert coarse.dtype == np.float32
    assert 1e-5 < np.abs(coarse - exact).max() < 0.03  # bfloat16 has 8 bits: the states of up to 1 are off by 2^-9


def test_an_output_that_is_there_is_replaced_whole_or_stays(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "texts").write_text("the cat\n" * 300, encoding="utf-8")
    (tmp_path / "vectors.npy").write_bytes(b"of yesterday")
    before = contents(tmp_path)
    args = ["embed", str(directory), "--input", str(tmp_path / "texts"), "--output", str(tmp_path / "vectors.npy")]
    with full_disk():
        assert run(monkeypatch, *args) == 3
    assert error_line(capsys) == f"error: {tmp_path / 'vectors.npy'}: File too large"
    assert contents(tmp_path) == before

    def interrupted(path: Path, vectors: NDArray[np.float32]) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(embed_command, "write_npy", interrupted)
        assert run(patch, *args) == 130
    assert error_line(capsys) == "error: interrupted"
    assert contents(tmp_path) == before

    assert run(monkeypatch, *args) == 0
    assert np.load(tmp_path / "vectors.npy").shape == (300, 24)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"directory": "none"}, "{tmp}/none is not a model directory: it has no config.json"),
        ({"--input": "none.txt"}, "{tmp}/none.txt cannot be read (No such file or directory)"),
        (
            {"--input": "latin.txt"},
            "{tmp}/latin.txt:2: not UTF-8 at byte 11, expected UTF-8 text; it is probably WINDOWS-1252: iconv "
            "-f WINDOWS-1252 -t UTF-8 < {tmp}/latin.txt > utf8-latin.txt",
        ),
        ({"--input": "empty.txt"}, "{tmp}/empty.txt: expected one text per line, found nothing"),
        ({"--output": "none/vectors.npy"}, "{tmp}/none/vectors.npy: there is no directory {tmp}/none"),
        ({"--output": "vectors.txt"}, "{tmp}/vectors.txt: expected a name that ends in .npy"),
        ({"--output": "folder.npy"}, "{tmp}/folder.npy is a directory, expected a file to write"),
        ({"--batch-tokens": "0"}, "--batch-tokens must be at least 1, not 0"),
        ({"--max-length": "2"}, "the max length must be from 3 to 16, the model's positions, not 2"),
        ({"--max-length": "17"}, "the max length must be from 3 to 16, the model's positions, not 17"),
    ],
    ids=lambda value: " ".join(*value.items()) if isinstance(value, dict) else "",
)
def test_the_command_refuses_in_one_line_and_leaves_nothing(
    changed: dict[str, str],
    message: str,
    directory: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "texts.txt").write_text("the cat\nthe dog\n")
    (tmp_path / "latin.txt").write_bytes(b"the cat\ncaf\xe9\n")
    (tmp_path / "empty.txt").touch()
    (tmp_path / "folder.npy").mkdir()
    before = sorted(tmp_path.rglob("*"))
    options = {"directory": directory.name, "--input": "texts.txt", "--output": "vectors.npy"} | changed
    places = {"directory", "--input", "--output"}
    given = {name: str(tmp_path / value) if name in places else value for name, value in options.items()}
    args = [given.pop("directory"), *(word for option in given.items() for word in option)]
    assert run(monkeypatch, "embed", *args) == 2
    assert error_line(capsys) == "error: " + message.format(tmp=tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


# --- Real weights ----------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_real_weights_give_the_references_vectors(tmp_path: Path) -> None:
    from_hf(real_directory(), tmp_path / "minilm")
    model, tokenizer = minibert.load(tmp_path / "minilm")
    texts = ["A man is playing a guitar.", "", "naïve café 中国 🦠", "Paris, the capital of France. " * 30, "[MASK]"]
    reference = transformers.AutoModel.from_pretrained(real_directory()).eval()
    encoded = transformers.AutoTokenizer.from_pretrained(real_directory())(texts, padding=True, return_tensors="pt")
    mask = encoded["attention_mask"][..., None]
    expected = (reference(**encoded).last_hidden_state * mask).sum(1) / mask.sum(1)
    found = embed(model, tokenizer, texts, normalize=False, batch_tokens=20)
    assert_allclose(found, expected.numpy(), rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 0.00005), ("bfloat16", 0.0005)])
def test_real_weights_rank_sentence_pairs_as_published(
    dtype: str, tolerance: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not STSB.exists():
        pytest.skip(f"{STSB} is not there")
    rows = [line.split("\t") for line in STSB.read_text(encoding="utf-8").removesuffix("\n").split("\n")]
    assert len(rows) == 1379
    (tmp_path / "texts").write_text("".join(f"{row[5]}\n{row[6]}\n" for row in rows), encoding="utf-8")
    from_hf(real_directory(), tmp_path / "minilm")
    args = ["--input", str(tmp_path / "texts"), "--output", str(tmp_path / "v.npy"), "--normalize", "--dtype", dtype]
    assert run(monkeypatch, "embed", str(tmp_path / "minilm"), *args) == 0
    vectors = np.load(tmp_path / "v.npy")
    cosines = (vectors[::2] * vectors[1::2]).sum(1)
    assert spearmanr(cosines, [float(row[4]) for row in rows]).statistic == pytest.approx(0.82032, abs=tolerance)
