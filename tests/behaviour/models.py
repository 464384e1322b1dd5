"""Models of every class and family on fixed inputs: what they answer, their losses and gradients, in every number
format and padding, in training and in evaluation, called directly and as the commands call them.
"""

from __future__ import annotations

import inspect
import itertools
import math
import random
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import minibert
from tests.behaviour import internals
from tests.behaviour.records import of_tensor

# Three layers and four heads, and lengths that are no multiple of what kernels like.
SHAPE: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 56,
    "max_position_embeddings": 42,
}  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
    "bert": {},
    "roberta": {"type_vocab_size": 1, "positions_skip_padding": True, "pooler_input_dropout": True,
                "layer_norm_eps": 1e-5},
    "distilbert": {"type_vocab_size": 0, "pooler_act": "relu", "span_dropout": 0.1, "classifier_dropout": 0.2},
    "albert": {"embedding_size": 12, "share_layers": True, "hidden_act": "gelu_new", "classifier_dropout": 0.1},
}  # fmt: skip
KINDS = {"roberta": "bpe", "albert": "unigram"}  # of their tokenizers, all others' are WordPiece
TEXTS = ("the red cat saw a dog", "who ran to the green fox and the blue hen", "one [MASK] by two", "pig")

DTYPES = ("float64", "float32", "bfloat16")
PADDINGS = ("none", "right", "left", "an empty row")
LENGTHS = {"none": [23] * 6, "an empty row": [23, 9, 0, 5, 14, 17]}
ROWS, TOKENS, CHOICES = 6, 23, 3


def make(place: Path) -> None:
    """A model directory for each class of each family, below `place`."""
    words = " ".join(TEXTS).replace("[MASK]", "").split()
    rng = random.Random(0)
    texts = [" ".join(rng.choices(words, k=12)) for _ in range(60)]
    for family, fields in FAMILIES.items():
        kind = KINDS.get(family, "wordpiece")
        tokenizer = minibert.Tokenizer.train(texts, vocab_size=300 if kind == "bpe" else 60, kind=kind)
        config = minibert.BertConfig(vocab_size=tokenizer.vocab_size, pad_token_id=tokenizer.pad_id, **SHAPE, **fields)
        for architecture in internals.ARCHITECTURES:
            model = internals.new_model(architecture, config)
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    parameter.copy_(drawn(name.removeprefix("encoder."), parameter))
            minibert.save(model, tokenizer, place / family / architecture)


def drawn(name: str, parameter: Tensor) -> Tensor:
    """Numbers for a parameter that depend on its name and shape alone; biases and LayerNorms are no 0 and 1."""
    numbers = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    if parameter.ndim > 1:
        return numbers / math.sqrt(parameter.size(-1))
    return numbers * 0.3 + float("norm" in name and name.endswith("weight"))


def cases(material: Path) -> dict[str, Callable[[Path], dict[str, Any]]]:
    """Name -> what makes the entries."""
    names = itertools.product(FAMILIES, internals.ARCHITECTURES)
    return {f"models/{family}/{name}": partial(_case, material / "models" / family / name) for family, name in names}


def _case(directory: Path, _: Path) -> dict[str, Any]:
    model, tokenizer = minibert.load(directory)
    found: dict[str, Any] = {
        "embed": of_tensor(torch.from_numpy(minibert.embed(model, tokenizer, TEXTS))),
        "trace": {name: of_tensor(tensor) for name, tensor in minibert.trace(model, tokenizer(TEXTS[:3])).items()},
    }
    if directory.name in internals.PRETRAINED:
        mask = tokenizer.special_tokens.mask
        found["fill_mask"] = str(minibert.fill_mask(model, tokenizer, TEXTS[2].replace("[MASK]", mask)))
    for dtype, padding in itertools.product(DTYPES, PADDINGS):
        model, _ = minibert.load(directory)
        model = model.double() if dtype == "float64" else model
        for way, ask in _ways(model, dtype, padding).items():
            for training in (True, False):
                name = f"{dtype}, padding {padding}, {'training' if training else 'evaluation'}, {way}"
                found[name] = _passes(model.train(training), ask)
        model.eval()
        with torch.inference_mode():
            for way, ask in _ways(model, dtype, padding).items():
                if way != "as pretraining":  # which makes gradients
                    found[f"{dtype}, padding {padding}, inference, {way}"] = _entries(_named(ask()))
    return found


def _ways(model: Any, dtype: str, padding: str) -> dict[str, Callable[[], Any]]:
    """Each way to call the model on one batch."""
    architecture = type(model).__name__
    inputs = batch(model.config, padding)
    generator = torch.Generator().manual_seed(5)
    if "masked_positions" in inspect.signature(model.forward).parameters:
        real = torch.arange(ROWS * TOKENS) if padding == "none" else inputs["attention_mask"].flatten().nonzero()[:, 0]
        inputs["masked_positions"] = real[torch.randperm(len(real), generator=generator)[:20]]

    def directly() -> Any:
        given = inputs
        if architecture == "BertForMultipleChoice":
            given = {
                name: None if tensor is None else tensor.unflatten(0, (-1, CHOICES)) for name, tensor in inputs.items()
            }
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "bfloat16"):
            return model(**given)

    ways: dict[str, Callable[[], Any]] = {"called": directly}
    if architecture in internals.FINE_TUNED:
        ways["as fine-tuning"] = partial(internals.asked_in_fine_tuning, model, dtype, inputs)
    if architecture in internals.PRETRAINED:
        ordered = inputs["masked_positions"].sort().values
        filled = inputs | {"masked_positions": torch.cat([ordered, ordered.new_zeros(12)])}
        labels = torch.randint(5, model.config.vocab_size, ordered.shape, generator=generator)
        not_next = torch.arange(ROWS) % 2
        ways["as pretraining"] = partial(internals.pretraining_losses, model, dtype, filled, labels, not_next)
    return ways


def batch(config: minibert.BertConfig, padding: str) -> dict[str, Any]:
    """(6, 23) each: tokens, segments and mask, which is None where nothing is padded."""
    lengths = torch.tensor(LENGTHS.get(padding, [23, 9, 1, 5, 14, 17]))
    real = torch.arange(TOKENS) < lengths[:, None]
    real = real.flip(1) if padding == "left" else real
    ids = torch.randint(5, config.vocab_size, real.shape, generator=torch.Generator().manual_seed(3))
    return {
        "input_ids": torch.where(real, ids, config.pad_token_id),
        "token_type_ids": ((torch.arange(TOKENS) >= 8) & real).long(),
        "attention_mask": None if padding == "none" else real,
    }


def _passes(model: torch.nn.Module, ask: Callable[[], Any]) -> dict[str, Any]:
    """Outputs, a loss that all of them decide, and the gradients of that; or, where `ask` makes losses and gradients,
    those."""
    model.zero_grad()
    torch.manual_seed(11)
    outputs = _named(ask())
    found = _entries(outputs)
    if any(output.requires_grad for output in outputs.values()):
        weights = {name: drawn(name, output).double() for name, output in outputs.items()}
        loss = sum((output.double() * weights[name]).sum() for name, output in outputs.items())
        assert isinstance(loss, Tensor)
        loss.backward()
        found["loss"] = loss.item()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    kept = {name: "none" if tensor is None else of_tensor(tensor, first=0) for name, tensor in gradients.items()}
    return {**found, "gradients": kept}


def _named(output: Any) -> dict[str, Tensor]:
    """What a model answered, by name."""
    if isinstance(output, Mapping):
        return dict(output)
    return {"output": output} if isinstance(output, Tensor) else output._asdict()


def _entries(outputs: Mapping[str, Tensor]) -> dict[str, Any]:
    return {name: of_tensor(output) for name, output in outputs.items()}
