"""An accelerated model computes what the plain one does, and bypasses nothing that is attached to it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.testing import assert_close

from minibert.architectures import ARCHITECTURES
from minibert.fast import accelerate, encoder
from minibert.fast.dropout import Dropout
from minibert.fast.encoder import is_as_written
from minibert.heads import Model
from minibert.model import Bert, Block, DotProductAttention, FeedForward, SelfAttention
from tests.helpers import FAMILY, TINY, ragged_batch, randomize, seeded, tiny_model

WANTED = torch.tensor([25, 3, 0, 11])  # in no order; the second sequence's padding is not among them


def inputs(architecture: str) -> dict[str, Tensor]:
    given = dict(zip(("input_ids", "token_type_ids", "attention_mask"), ragged_batch(), strict=True))
    if architecture in ("BertForPreTraining", "BertForMaskedLM"):
        return given | {"masked_positions": WANTED}
    return {name: tensor[None] for name, tensor in given.items()} if "Choice" in architecture else given


def undropped(architecture: str, family: str = "bert") -> Model:
    config = FAMILY[family].replace(
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, classifier_dropout=0.0, span_dropout=0.0
    )
    model = tiny_model(architecture, config).double()
    randomize(model, seed=5)
    return model


def numbers(answer: Tensor | tuple[Tensor, ...]) -> Tensor:
    parts = answer if isinstance(answer, tuple) else (answer,)
    return torch.cat([part.flatten() for part in parts])


def gradients(model: Model, answer: Tensor) -> list[Tensor]:
    weights = torch.randn(answer.shape, generator=seeded(3), dtype=answer.dtype)
    found = torch.autograd.grad((answer * weights).sum(), list(model.parameters()), allow_unused=True)
    return [torch.zeros(1) if gradient is None else gradient for gradient in found]


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("family", FAMILY)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_answers_and_gradients_are_the_plain_models(architecture: str, family: str, *, training: bool) -> None:
    plain = undropped(architecture, family).train(training)
    fast = accelerate(copy.deepcopy(plain))
    given = inputs(architecture)
    expected, found = numbers(plain(**given)), numbers(fast(**given))
    assert_close(found, expected, rtol=0, atol=1e-12)
    assert_close(gradients(fast, found), gradients(plain, expected), rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_padding_is_left_out_in_training(monkeypatch: pytest.MonkeyPatch, *, training: bool) -> None:
    """In evaluation it is not: tools that record a model as a graph can't have sizes that depend on its input."""
    rows, block_at = [], encoder.block_at

    def seen(block: nn.Module, x: Tensor, *args: Any) -> Tensor:
        rows.append(len(x.flatten(0, -2)))
        return block_at(block, x, *args)

    monkeypatch.setattr(encoder, "block_at", seen)
    accelerate(tiny_model("BertForPreTraining")).train(training)(**inputs("BertForPreTraining"))
    assert rows and all((count < 3 * 11) == training for count in rows)  # 19 of them are tokens


def test_a_plain_model_runs_as_it_is_written() -> None:
    kinds = {type(module).__module__.partition(".")[0] for module in tiny_model("BertForPreTraining").modules()}
    homes = {type(module).__module__ for module in tiny_model("BertForPreTraining").modules()}
    assert kinds == {"torch", "minibert"}
    assert not any(home.startswith("minibert.fast") for home in homes)


def test_the_modules_stay_the_same_under_the_same_names() -> None:
    model = tiny_model("Bert")
    before = dict(model.named_modules()), dict(model.named_parameters())
    assert accelerate(model) is model
    assert (dict(model.named_modules()), dict(model.named_parameters())) == before
    assert type(model).__name__ == "Bert" and isinstance(model, Bert)
    assert isinstance(model.embeddings.dropout, Dropout)
    assert accelerate(model) is model  # once more changes nothing


def test_classes_of_ones_own_stay_as_they_are() -> None:
    class Mine(DotProductAttention):
        pass

    model = tiny_model("Bert")
    model.blocks[0].attention.dot_product = Mine(0.1)  # type: ignore[union-attr]
    assert type(accelerate(model).blocks[0].attention.dot_product) is Mine  # type: ignore[union-attr]


# --- What is attached ------------------------------------------------------------------------------------------------

PLACES = [name for name, _ in tiny_model("BertForPreTraining").named_modules()]


@pytest.mark.parametrize("place", PLACES)
def test_a_hook_on_any_module_sees_what_it_sees_in_the_plain_model(place: str) -> None:
    seen: list[list[Tensor]] = []
    for model in (undropped("BertForPreTraining"), accelerate(undropped("BertForPreTraining"))):
        found: list[Tensor] = []
        model.get_submodule(place).register_forward_hook(
            lambda _module, _inputs, output, found=found: found.append(numbers(output).detach())
        )
        with torch.no_grad():
            model(**inputs("BertForPreTraining"))
        seen.append(found)
    assert len(seen[0]) == len(seen[1])
    for plain, fast in zip(*seen, strict=True):
        assert_close(fast, plain, rtol=0, atol=1e-12)


def hooked(module: nn.Module, seen: list[str]) -> None:
    module.register_forward_pre_hook(lambda *_: seen.append("called"))


def replaced(module: nn.Module, seen: list[str]) -> None:
    forward = module.forward

    def listening(*given: object, **named: object) -> object:
        seen.append("called")
        return forward(*given, **named)

    module.forward = listening  # type: ignore[method-assign]


def subclassed(module: nn.Module, seen: list[str]) -> None:
    class Mine(type(module)):  # type: ignore[misc]
        def forward(self, *given: object, **named: object) -> object:
            seen.append("called")
            return super().forward(*given, **named)

    module.__class__ = Mine


@pytest.mark.parametrize("attach", [hooked, replaced, subclassed])
@pytest.mark.parametrize("place", [name for name in PLACES if name.startswith("encoder.blocks.0")])
def test_nothing_in_a_block_is_bypassed(place: str, attach: Callable[[nn.Module, list[str]], None]) -> None:
    model, seen, sizes = accelerate(undropped("BertForPreTraining")), [], []
    attach(model.get_submodule(place), seen)
    with torch.no_grad():
        model(**inputs("BertForPreTraining"))
        model.encoder.blocks[0].register_forward_hook(lambda _module, _inputs, output: sizes.append(output.shape))
        model(**inputs("BertForPreTraining"))
    assert len(seen) == (4 if place.endswith("blocks.0.dropout") else 2)  # a block has one for both sublayers
    assert sizes == [(3, 11, 24)]


@pytest.mark.parametrize("kind", [Bert, Block, SelfAttention, FeedForward, DotProductAttention])
def test_nor_is_what_is_put_in_the_place_of_a_classs_own(
    kind: type[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, seen, forward = accelerate(undropped("BertForPreTraining")), [], kind.forward

    def listening(module: nn.Module, *given: object, **named: object) -> object:
        seen.append("called")
        return forward(module, *given, **named)

    monkeypatch.setattr(kind, "forward", listening)
    with torch.no_grad():
        model(**inputs("BertForPreTraining"))
    assert len(seen) == (1 if kind is Bert else TINY.num_hidden_layers)


@pytest.mark.parametrize("attribute", ["register_full_backward_hook", "register_full_backward_pre_hook"])
def test_a_backward_hook_has_all_positions_computed(attribute: str) -> None:
    encoder = accelerate(tiny_model("Bert"))
    assert is_as_written(encoder)  # type: ignore[arg-type]
    getattr(encoder.get_submodule("blocks.1.feed_forward"), attribute)(lambda *_: None)
    assert not is_as_written(encoder)  # type: ignore[arg-type]


def test_so_has_a_hook_on_all_modules() -> None:
    encoder = accelerate(tiny_model("Bert"))
    handle = register_module_forward_hook(lambda *_: None)
    assert not is_as_written(encoder)  # type: ignore[arg-type]
    handle.remove()
    assert is_as_written(encoder)  # type: ignore[arg-type]


def test_a_module_of_ones_own_is_called_and_may_say_that_it_treats_each_position_alone() -> None:
    class Mine(nn.Linear):
        pass

    encoder = accelerate(tiny_model("Bert"))
    encoder.blocks[0].attention.output = Mine(24, 24)  # type: ignore[union-attr]
    assert not is_as_written(encoder)  # type: ignore[arg-type]
    Mine.is_position_wise = True  # type: ignore[attr-defined]
    assert is_as_written(encoder)  # type: ignore[arg-type]


def test_the_check_is_part_of_a_compiled_graph() -> None:
    encoder = accelerate(undropped("Bert")).train()
    given = inputs("Bert")
    compiled = torch.compile(encoder.states_at, fullgraph=True, backend="eager", dynamic=True)
    ids = {"token_type_ids": given["token_type_ids"]}  # without padding: what is left of it is counted, on a CPU
    found = compiled(given["input_ids"], WANTED, **ids)
    assert_close(found, encoder.states_at(given["input_ids"], WANTED, **ids), rtol=0, atol=1e-12)


# --- A trap ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_no_two_modules_share_an_activation(activation: str) -> None:
    models = [tiny_model(name, TINY.replace(hidden_act=activation)) for name in ("BertForPreTraining", "Bert")]
    called: list[str] = []
    models[0].get_submodule("encoder.blocks.0.feed_forward.activation").register_forward_hook(
        lambda *_: called.append("block 0 of the first")
    )
    for model, architecture in zip(models, ("BertForPreTraining", "Bert"), strict=True):
        model(**inputs(architecture))
    assert called == ["block 0 of the first"]


def test_the_classes_that_blocks_are_made_of_are_known() -> None:
    kinds = {type(module) for module in accelerate(tiny_model("Bert")).blocks.modules()}  # type: ignore[union-attr]
    assert {Block, SelfAttention, FeedForward, nn.Linear, nn.LayerNorm, nn.GELU, Dropout} <= kinds
