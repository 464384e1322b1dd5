"""What sentence-transformers keeps beside the weights: followed by default, written back, or named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from numpy.typing import NDArray

import minibert
from minibert.config import TextVectors
from minibert.heads import Model
from minibert.tokenizer import Tokenizer
from tests.helpers import contents, refusal
from tests.minibert.running import run as run_minibert
from tests.weights_convert.reference_models import edit_json, real_directory, reference_model, write_directory
from tests.weights_convert.test_commands import run
from weights_convert.convert import from_hf, read_hf, to_hf
from weights_convert.parity import verify

TEXTS = ["word1 word2", "word3", "word4 " * 20, ""]  # of 4, 3, 22 and 2 tokens; the model has 16 positions


def write(path: Path, content: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


def modules(*kinds: str) -> list[dict[str, object]]:
    """As they are published."""
    paths = ["", *(f"{number}_{kind}" for number, kind in enumerate(kinds[1:], 1))]
    return [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (kind, path) in enumerate(zip(kinds, paths, strict=True))
    ]


def flags(*modes: str) -> dict[str, object]:
    """A pooling as it is published."""
    names = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens", "sqrt": "mean_sqrt_len_tokens"}
    return {"word_embedding_dimension": 24} | {f"pooling_mode_{name}": mode in modes for mode, name in names.items()}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """An encoder whose vectors are the state of [CLS], of at most 8 tokens, normalised; free to be changed."""
    hf = write_directory(reference_model("encoder").float(), tmp_path / "hf")
    write(hf / "modules.json", modules("Transformer", "Pooling", "Normalize"))
    write(hf / "1_Pooling" / "config.json", flags("cls"))
    write(hf / "sentence_bert_config.json", {"max_seq_length": 8, "do_lower_case": False})
    return hf


@torch.no_grad()
def one_by_one(model: Model, tokenizer: Tokenizer, vectors: TextVectors) -> NDArray[np.float32]:
    """What `embed` should give for TEXTS, step by step."""
    states = [model.encoder(tokenizer(text, max_length=vectors.max_length or 16).input_ids)[0] for text in TEXTS]
    pool = {"mean": lambda state: state.mean(0), "cls": lambda state: state[0], "max": lambda state: state.amax(0)}
    found = torch.stack([pool[vectors.pooling](state) for state in states])
    return (found / found.norm(dim=1, keepdim=True) if vectors.normalize else found).numpy()


# --- Followed --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", [flags("cls"), {"embedding_dimension": 24, "pooling_mode": "cls"}, flags("mean"),
                                     flags(), {"word_embedding_dimension": 24}, flags("max")])  # fmt: skip
@pytest.mark.parametrize("normalize", [False, True])
def test_the_vectors_are_those_that_the_directory_says(
    pooling: dict[str, object], normalize: bool, directory: Path, tmp_path: Path
) -> None:
    write(directory / "modules.json", modules("Transformer", "Pooling", *(["Normalize"] if normalize else [])))
    write(directory / "1_Pooling" / "config.json", pooling)
    from_hf(directory, tmp_path / "ours")
    model, tokenizer = minibert.load(tmp_path / "ours")
    mode = pooling.get("pooling_mode") or next((m for m in ("cls", "max") if pooling == flags(m)), "mean")
    said = TextVectors(pooling=mode, normalize=normalize, max_length=8)
    assert model.encoder.text_vectors == said
    assert_allclose(minibert.embed(model, tokenizer, TEXTS), one_by_one(model, tokenizer, said), rtol=0, atol=1e-5)


def test_what_is_asked_for_comes_before_what_the_directory_says(directory: Path) -> None:
    conversion = read_hf(directory)
    model, tokenizer = conversion.model, conversion.tokenizer
    asked = TextVectors(pooling="mean", normalize=False, max_length=16)
    found = minibert.embed(model, tokenizer, TEXTS, pooling="mean", normalize=False, max_length=16)
    assert_allclose(found, one_by_one(model, tokenizer, asked), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("file", "fields", "tokenizer_config", "expected"),
    [
        ("sentence_bert_config.json", {"max_seq_length": 8}, {"model_max_length": 5}, 8),
        ("sentence_roberta_config.json", {"max_seq_length": 8}, {}, 8),
        ("sentence_bert_config.json", {"max_seq_length": None}, {"model_max_length": 8}, 8),
        ("sentence_bert_config.json", {"modality_config": {}}, {"model_max_length": 8}, 8),  # of version 6
        ("sentence_bert_config.json", {"max_seq_length": None}, {"model_max_length": int(1e30)}, None),
        ("sentence_bert_config.json", {"max_seq_length": 512}, {}, None),  # the model has 16 positions
        ("sentence_bert_config.json", {}, {}, None),
    ],
)
def test_the_most_tokens_of_a_text(
    file: str, fields: dict[str, Any], tokenizer_config: dict[str, Any], expected: int | None, directory: Path
) -> None:
    (directory / "sentence_bert_config.json").unlink()
    write(directory / file, fields)
    write(directory / "tokenizer_config.json", tokenizer_config)
    vectors = read_hf(directory).model.encoder.text_vectors
    assert vectors is not None and vectors.max_length == expected


def test_a_directory_without_modules_says_nothing_of_vectors(directory: Path) -> None:
    (directory / "modules.json").unlink()
    conversion = read_hf(directory)
    assert conversion.model.encoder.text_vectors is None
    assert conversion.not_used == ("1_Pooling/", "sentence_bert_config.json")


def test_the_encoder_may_lie_in_a_directory_of_its_own(directory: Path, tmp_path: Path) -> None:
    from_hf(directory, tmp_path / "expected")
    old = tmp_path / "old"
    shutil.copytree(directory, old / "0_BERT", ignore=shutil.ignore_patterns("modules.json", "1_Pooling"))
    shutil.copytree(directory / "1_Pooling", old / "1_Pooling")
    steps = modules("BERT", "Pooling", "Normalize")
    write(old / "modules.json", [steps[0] | {"path": "0_BERT"}, *steps[1:]])
    (old / "0_BERT" / "training.bin").touch()
    assert from_hf(old, tmp_path / "ours").not_used == ("0_BERT/training.bin",)
    assert contents(tmp_path / "ours") == contents(tmp_path / "expected")
    assert verify(old).agrees


# --- Written back ----------------------------------------------------------------------------------------------------


def test_to_hf_writes_them_back(directory: Path, tmp_path: Path) -> None:
    from_hf(directory, tmp_path / "ours")
    to_hf(tmp_path / "ours", tmp_path / "back")
    steps = json.loads((tmp_path / "back" / "modules.json").read_text())
    assert steps == modules("Transformer", "Pooling", "Normalize")
    assert json.loads((tmp_path / "back" / "1_Pooling" / "config.json").read_text()) == flags("cls")
    assert json.loads((tmp_path / "back" / "2_Normalize" / "config.json").read_text()) == {}
    settings = json.loads((tmp_path / "back" / "sentence_bert_config.json").read_text())
    assert settings == {"max_seq_length": 8, "do_lower_case": False}
    from_hf(tmp_path / "back", tmp_path / "again")
    assert contents(tmp_path / "again") == contents(tmp_path / "ours")


# --- Named -----------------------------------------------------------------------------------------------------------


def a_dense_layer(directory: Path) -> None:
    write(directory / "modules.json", modules("Transformer", "Pooling", "Dense", "Normalize"))


def no_pooling(directory: Path) -> None:
    write(directory / "modules.json", modules("Transformer"))


def code_of_its_own(directory: Path) -> None:
    steps = modules("Transformer", "Pooling")
    write(directory / "modules.json", [steps[0] | {"type": "custom_st.Transformer"}, steps[1]])


def two_poolings(directory: Path) -> None:
    write(directory / "1_Pooling" / "config.json", flags("cls", "mean"))


def another_pooling(directory: Path) -> None:
    write(directory / "1_Pooling" / "config.json", {"pooling_mode": ["weightedmean"]})


def a_norm_of_tokens(directory: Path) -> None:
    write(directory / "2_Normalize" / "config.json", {"module_input_name": "token_embeddings"})


def a_prompt(directory: Path) -> None:
    settings = {"prompts": {"query": "query: ", "document": ""}, "default_prompt_name": "query"}
    write(directory / "config_sentence_transformers.json", settings)


def lower_case(directory: Path) -> None:
    edit_json(directory / "sentence_bert_config.json", do_lower_case=True)
    write(directory / "tokenizer_config.json", {"do_lower_case": False})


def tokenizer_options(directory: Path) -> None:
    edit_json(directory / "sentence_bert_config.json", tokenizer_args={"add_prefix_space": True})


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (a_dense_layer, "the modules Transformer, Pooling, Dense, Normalize"),
        (no_pooling, "the modules Transformer"),
        (code_of_its_own, "the modules custom_st.Transformer, Pooling"),
        (two_poolings, "the pooling cls and mean"),
        (another_pooling, "the pooling weightedmean"),
        (a_norm_of_tokens, "a norm of token_embeddings"),
        (a_prompt, "a prompt before every text"),
        (lower_case, "do_lower_case where the tokenizer keeps case"),
        (tokenizer_options, "tokenizer_args"),
    ],
)
def test_other_vectors_than_the_models_are_made_only_when_they_are_asked_for(
    change: Callable[[Path], None], what: str, directory: Path, tmp_path: Path
) -> None:
    change(directory)
    from_hf(directory, tmp_path / "ours")
    model, tokenizer = minibert.load(tmp_path / "ours")
    assert refusal(lambda: minibert.embed(model, tokenizer, TEXTS)) == (
        f"the vectors of this model need what minibert does not support ({what}); with --pooling, you get "
        "different ones"
    )
    assert minibert.embed(model, tokenizer, TEXTS, pooling="mean").shape == (4, 24)
    to_hf(tmp_path / "ours", tmp_path / "back")
    assert not (tmp_path / "back" / "modules.json").exists()


def test_a_prompt_that_is_not_the_default_changes_nothing(directory: Path) -> None:
    write(directory / "config_sentence_transformers.json", {"prompts": {"query": "?"}, "default_prompt_name": None})
    conversion = read_hf(directory)
    assert conversion.model.encoder.text_vectors == TextVectors("cls", normalize=True, max_length=8)
    assert conversion.not_used == ("config_sentence_transformers.json",)


def test_commands_say_what_is_followed_and_what_is_not_used(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("README.md", "pytorch_model.bin"):
        (directory / name).touch()
    (directory / "onnx").mkdir()
    assert run(monkeypatch, "from-hf", directory, tmp_path / "ours") == 0
    lines = capsys.readouterr().out.splitlines()
    usual = "cls pooling, at most 8 tokens, scaled to length 1"
    assert lines[-4:-2] == [
        f"vectors of texts: {usual}",
        "not used: README.md, onnx/, pytorch_model.bin",
    ]
    (tmp_path / "texts").write_text("\n".join(TEXTS) + "\n")
    args = ["embed", str(tmp_path / "ours"), "--input", str(tmp_path / "texts"), "--output", str(tmp_path / "v.npy")]
    model, tokenizer = minibert.load(tmp_path / "ours")
    for options, said, asked in (
        (
            [],
            "vectors: cls pooling, at most 8 tokens, scaled to length 1",
            TextVectors("cls", normalize=True, max_length=8),
        ),
        (
            ["--no-normalize", "--pooling", "max"],
            f"vectors: max pooling, at most 8 tokens; the default is {usual}",
            TextVectors("max", max_length=8),
        ),
    ):
        assert run_minibert(monkeypatch, *args, *options) == 0
        assert capsys.readouterr().out.splitlines()[0] == said
        assert_allclose(np.load(tmp_path / "v.npy"), one_by_one(model, tokenizer, asked), rtol=0, atol=1e-5)
    assert run(monkeypatch, "to-hf", tmp_path / "ours", tmp_path / "back") == 0
    assert f"  sentence_transformers.SentenceTransformer('{tmp_path / 'back'}')" in capsys.readouterr().out
    two_poolings(directory)
    assert run(monkeypatch, "from-hf", directory, tmp_path / "other") == 0
    assert run(monkeypatch, "to-hf", tmp_path / "other", tmp_path / "no steps") == 0
    said = "\nmodules.json is not written: minibert does not support the pooling cls and mean\n"
    assert capsys.readouterr().out.endswith(said)


# --- Damaged ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("modules.json", "[", "modules.json, line 1: not readable as JSON (Expecting value)"),
        ("modules.json", "[]", "modules.json: expected a list of modules, each with its type and its path in the same"),
        ("modules.json", '[{"type": "sentence_transformers.models.Transformer", "path": "../other"}]',
         "modules.json: expected a list of modules, each with its type and its path in the same"),
        ("modules.json", '[{"type": "x.Pooling", "path": "/tmp"}]', "modules.json: expected a list of modules"),
        ("1_Pooling/config.json", None, "1_Pooling/config.json: missing; modules.json says that it gives the pooling"),
        ("1_Pooling/config.json", '{"pooling_mode": 1}', "config.json, pooling_mode: expected a name or a list of"),
        ("sentence_bert_config.json", '{"max_seq_length": "long"}',
         "sentence_bert_config.json, max_seq_length: expected a number of tokens, found 'long'"),
    ],
)  # fmt: skip
def test_damaged_files_are_named(name: str, content: str | None, message: str, directory: Path) -> None:
    (directory / name).unlink() if content is None else (directory / name).write_text(content)
    assert message in refusal(lambda: read_hf(directory))


# --- Real weights ----------------------------------------------------------------------------------------------------

SENTENCE = "A man in {} is playing a guitar, and {} people listen to him for naïve reasons; "
# 50 texts, 45 of at most 22 tokens and 5 of 162 to 322: of those, two are cut at 256 tokens, and all at 128.
LONG_AND_SHORT = [
    "",
    *(SENTENCE.format(f"place {i}", i) * {8: 8, 16: 9, 24: 10, 32: 14, 40: 16}.get(i, 1) for i in range(49)),
]


def real_sentence_directory(directory: Path, pooling: str, max_length: int, *, normalize: bool) -> Path:
    """MiniLM's directory, and beside the weights what is asked for."""
    shutil.copytree(real_directory(), directory, copy_function=lambda source, target: Path(target).symlink_to(source))
    for name in ("modules.json", "1_Pooling/config.json", "sentence_bert_config.json"):
        (directory / name).unlink()
    write(directory / "modules.json", modules("Transformer", "Pooling", *(["Normalize"] if normalize else [])))
    write(directory / "1_Pooling" / "config.json", flags(pooling) | {"word_embedding_dimension": 384})
    write(directory / "sentence_bert_config.json", {"max_seq_length": max_length, "do_lower_case": False})
    return directory


def assert_alike(found: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    """In their directions, and in their lengths."""
    lengths, wanted = (np.linalg.norm(vectors, axis=1) for vectors in (found, expected))
    assert ((found * expected).sum(1) / lengths / wanted).min() >= 0.99999
    assert_allclose(lengths, wanted, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("pooling", "max_length", "normalize"), [("cls", 128, True), ("mean", 256, False)])
def test_real_weights_give_the_vectors_of_sentence_transformers(
    pooling: str, max_length: int, normalize: bool, tmp_path: Path
) -> None:
    from sentence_transformers import SentenceTransformer

    hf = real_sentence_directory(tmp_path / "hf", pooling, max_length, normalize=normalize)
    expected = SentenceTransformer(str(hf), device="cpu").encode(LONG_AND_SHORT)
    conversion = read_hf(hf)
    assert_alike(minibert.embed(conversion.model, conversion.tokenizer, LONG_AND_SHORT), expected)


@pytest.mark.slow
def test_sentence_transformers_gives_them_after_there_and_back_and_its_own_files_say_the_same(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    from_hf(real_sentence_directory(tmp_path / "hf", "cls", 128, normalize=True), tmp_path / "ours")
    to_hf(tmp_path / "ours", tmp_path / "back")
    peer = SentenceTransformer(str(tmp_path / "back"), device="cpu")
    model, tokenizer = minibert.load(tmp_path / "ours")
    assert_alike(peer.encode(LONG_AND_SHORT), minibert.embed(model, tokenizer, LONG_AND_SHORT))
    peer.save(str(tmp_path / "of this version"))
    said = read_hf(tmp_path / "of this version").model.encoder.text_vectors
    assert said == model.encoder.text_vectors == TextVectors("cls", normalize=True, max_length=128)
