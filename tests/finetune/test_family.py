"""BERT's relatives, fine-tuned for every task: the model learns, and transformers gives its answers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers
from torch.testing import assert_close

import minibert
from finetune.tasks.registry import TASKS as KINDS
from minibert import checkpoint
from minibert.heads import SpanLogits
from minibert.model import Bert
from minibert.tokenizer import Tokenizer
from tests.finetune.running import SHAPE, TASKS, arguments, run_here, write_model
from tests.helpers import seeded
from tests.weights_convert.reference_models import shape_of_kind
from weights_convert.convert import to_hf

RELATIVES = ("roberta", "distilbert", "albert")


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A bare encoder of each, which knows nothing, with the vocabulary of the little tasks."""
    directory = tmp_path_factory.mktemp("encoders")
    tokenizer = Tokenizer.load(write_model(directory / "bert"))
    for family in RELATIVES:
        shape = shape_of_kind(f"{family} masked", SHAPE)
        config = shape.replace(vocab_size=tokenizer.vocab_size, pad_token_id=tokenizer.pad_id)
        checkpoint.save(Bert(config, generator=seeded(1)), tokenizer, directory / family)
    return {family: directory / family for family in RELATIVES}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("family", RELATIVES)
def test_a_relative_learns_and_transformers_gives_its_answers(
    family: str, task: str, encoders: dict[str, Path], files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = arguments(task, encoders[family], files, tmp_path / "run")
    assert run_here(monkeypatch, *args, "--epochs", 1, "--batch-size", 16, "--learning-rate", 3e-3) == 0
    model, tokenizer = minibert.load(tmp_path / "run")
    assert type(model) is KINDS[task].model_class
    assert model.config == minibert.load(encoders[family])[0].config  # the classifier's dropout with it
    to_hf(tmp_path / "run", tmp_path / "hf")
    auto = getattr(transformers, "AutoModelFor" + type(model).__name__.removeprefix("BertFor"))
    reference = auto.from_pretrained(tmp_path / "hf").eval()
    batch = tokenizer(["the cat saw", "a red pig ran to the hen"], ["who ran", "what"])
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    if family == "albert":
        inputs["token_type_ids"] = batch.token_type_ids
    if task == "multiple-choice":
        inputs = {name: tensor[None] for name, tensor in inputs.items()}
    with torch.no_grad():
        found, expected = model(**inputs), reference(**inputs)
    if isinstance(found, SpanLogits):
        assert_close(found.start, expected.start_logits, rtol=0, atol=1e-5)
        assert_close(found.end, expected.end_logits, rtol=0, atol=1e-5)
    else:
        assert_close(found, expected.logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", [("--freeze-encoder",), ("--lora-rank", 4), ("--layer-decay", 0.5)])
def test_layers_that_share_a_block_are_frozen_adapted_and_slowed_as_one(
    method: tuple[object, ...], encoders: dict[str, Path], files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = arguments("text-classification", encoders["albert"], files, tmp_path / "run")
    assert run_here(monkeypatch, *args, *method, "--epochs", 1, "--batch-size", 16, "--learning-rate", 3e-3) == 0
    model, _ = minibert.load(tmp_path / "run")
    assert model.encoder.blocks[0] is model.encoder.blocks[1]
    before = minibert.load(encoders["albert"])[0].encoder.state_dict()
    changed = {name for name, tensor in model.encoder.state_dict().items() if not torch.equal(tensor, before[name])}
    of_blocks = {name for name in changed if name.startswith("blocks.")}
    if method[0] == "--freeze-encoder":
        assert changed == set()
    elif method[0] == "--lora-rank":
        assert changed == {f"blocks.{layer}.attention.query_key_value.weight" for layer in (0, 1)}
    else:
        assert len(of_blocks) == 24 and "embeddings.projection.weight" in changed
