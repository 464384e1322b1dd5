"""What a notebook has: the names of the package, fill_mask, load onto a device, what objects say of themselves."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch

import finetune
import minibert
import weights_convert
from minibert.filling import Filling
from minibert.heads import BertForPreTraining
from minibert.model import Bert
from minibert.tokenizer import Tokenizer
from minibert.tracing import Record
from tests.helpers import REPOSITORY, TINY, refusal

# --- Names -----------------------------------------------------------------------------------------------------------


PACKAGES = [minibert, finetune, weights_convert]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_completion_and_a_star_import_have_the_public_names(package: ModuleType) -> None:
    assert set(package.__all__) <= set(dir(package)) and "annotations" not in dir(package)
    names: dict[str, object] = {}
    exec(f"from {package.__name__} import *", names)
    assert {name: names[name] for name in package.__all__} == {name: getattr(package, name) for name in package.__all__}
    assert all(callable(getattr(package, name)) for name in package.__all__)


def test_verify_is_a_function_whatever_was_imported_before() -> None:
    import_module("weights_convert.parity")
    assert weights_convert.verify.__name__ == "verify" and not isinstance(weights_convert.verify, ModuleType)


@pytest.mark.parametrize(("name", "near"), [("fillmask", ": did you mean fill_mask?"), ("nonsense", "")])
def test_a_name_that_is_not_there_is_answered_with_a_near_one(name: str, near: str) -> None:
    with pytest.raises(AttributeError) as error:
        getattr(minibert, name)
    assert str(error.value) == f"module 'minibert' has no attribute {name!r}{near}"


def test_no_package_imports_torch_before_it_is_needed() -> None:
    code = (
        "import minibert, finetune, weights_convert, sys; dir(minibert); dir(finetune); dir(weights_convert)\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0


# --- load and fill_mask ----------------------------------------------------------------------------------------------


def test_a_model_is_loaded_onto_a_device(model_directory: Path) -> None:
    for device in ("cpu", torch.device("cpu")):
        model, _ = minibert.load(model_directory, device=device)
        assert model.encoder.embeddings.token.weight.device.type == "cpu" and not model.training
    message = refusal(lambda: minibert.load(model_directory, device="gpu"))
    assert message == "device: 'gpu' is not one of auto, cpu, cuda"


def test_fill_mask_gives_tokens_with_their_probabilities_for_each_mask(
    model: BertForPreTraining, tokenizer: Tokenizer
) -> None:
    answers = minibert.fill_mask(model, tokenizer, "the [MASK] sat on the [MASK]", top_k=3)
    probabilities = minibert.trace(model, tokenizer("the [MASK] sat on the [MASK]"))["mlm_head"].softmax(-1)
    for best, row in zip(answers, probabilities[[2, 6]], strict=True):
        order = row.argsort(descending=True)[:3].tolist()
        assert best == [Filling(tokenizer.shown(token), pytest.approx(row[token].item())) for token in order]


def test_fill_mask_leaves_out_dropout_and_the_model_as_it_was(model: BertForPreTraining, tokenizer: Tokenizer) -> None:
    expected = minibert.fill_mask(model, tokenizer, "[MASK]")
    model.train()
    assert minibert.fill_mask(model, tokenizer, "[MASK]") == expected
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize(
    ("text", "top_k", "message"),
    [
        ("The cat.", 5, "no [MASK] in the text 'The cat.': put it where a word is to be predicted"),
        ("[MASK]", 0, "top_k must be from 1 to 80, not 0"),
        ("[MASK]", 81, "top_k must be from 1 to 80, not 81"),
    ],
)
def test_fill_mask_refuses(
    text: str, top_k: int, message: str, model: BertForPreTraining, tokenizer: Tokenizer
) -> None:
    assert refusal(lambda: minibert.fill_mask(model, tokenizer, text, top_k=top_k)) == message


def test_fill_mask_needs_a_masked_lm_head(tokenizer: Tokenizer) -> None:
    assert refusal(lambda: minibert.fill_mask(Bert(TINY), tokenizer, "[MASK]")) == "a Bert has no masked-LM head"


# --- What objects say of themselves ----------------------------------------------------------------------------------


def test_a_tokenizer_says_of_what_kind_it_is(tokenizer: Tokenizer) -> None:
    assert repr(tokenizer) == (
        "Tokenizer(kind='wordpiece', vocab_size=80, lowercase=True, strip_accents=True, chinese_chars=True, "
        "clean_text=True)"
    )
    for other in (copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))):
        assert (repr(other), other.fingerprint) == (repr(tokenizer), tokenizer.fingerprint)


def test_a_batch_says_how_large_it_is(tokenizer: Tokenizer) -> None:
    assert repr(tokenizer(["the cat", "a dog ran"])) == "Batch(texts=2, width=5, tokens=9)"


def test_a_record_tells_names_and_shapes(model: BertForPreTraining, tokenizer: Tokenizer) -> None:
    record = minibert.trace(model, tokenizer(["the cat", "a dog ran"]))
    assert repr(record) == (
        f"Record of {len(record)} tensors: embeddings.token (2, 5, 24), embeddings.position (5, 24), "
        "embeddings.segment (2, 5, 24), embeddings.sum (2, 5, 24), ..."
    )
    assert repr(Record(pooler=record["pooler"])) == "Record of 1 tensors: pooler (2, 24)"


def test_a_name_that_is_not_in_a_record_is_answered_with_the_near_one(
    model: BertForPreTraining, tokenizer: Tokenizer
) -> None:
    record = minibert.trace(model, tokenizer("the cat"))
    with pytest.raises(KeyError) as error:
        record["blocks.1.atention.probabilities"]
    said = "no 'blocks.1.atention.probabilities'; did you mean 'blocks.1.attention.probabilities'?"
    assert error.value.args == (said,)
    with pytest.raises(KeyError) as error:
        record["?"]
    assert error.value.args == ("no '?'",)
    assert record.get("?") is None


def test_a_record_is_copied_and_kept_as_a_mapping(model: BertForPreTraining, tokenizer: Tokenizer) -> None:
    record = minibert.trace(model, tokenizer("the cat"))
    assert repr(copy.copy(record)) == repr(record)
    file = io.BytesIO()
    torch.save(record, file)
    file.seek(0)
    for other in (copy.copy(record), copy.deepcopy(record), torch.load(file, weights_only=True)):
        assert list(other) == list(record)
        assert all(torch.equal(other[name], tensor) for name, tensor in record.items())
