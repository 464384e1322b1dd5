"""Pretraining on a GPU: recorded passes, and runs that are stopped and resumed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from minibert import checkpoint
from minibert.config import BertConfig
from minibert.fast.cross_entropy import IGNORED
from minibert.fast.cuda_graphs import Graphed
from minibert.heads import BertForPreTraining
from minibert.training.device import choose_precision
from pretrain.batches.batch import PretrainBatch
from pretrain.options import parse_options
from pretrain.passes import backward_pass
from pretrain.train import Pretraining, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
GPU = torch.device("cuda")
CONFIG = BertConfig(
    vocab_size=50, hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128,
    max_position_embeddings=32, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1,
)  # fmt: skip


def batch(seed: int, masked: int, *, filled: bool) -> PretrainBatch:
    """Four sequences of 16 tokens, the last one of 9; filled: as a GPU gets it."""
    draw = torch.Generator().manual_seed(seed)
    mask = torch.ones(4, 16, dtype=torch.bool)
    mask[3, 9:] = False
    positions = torch.zeros(64, dtype=torch.long)
    positions[:masked] = torch.randperm(48, generator=draw)[:masked]
    labels = torch.full((64,), IGNORED)
    labels[:masked] = torch.randint(5, 50, (masked,), generator=draw)
    return PretrainBatch(
        input_ids=torch.randint(5, 50, (4, 16), generator=draw),
        token_type_ids=torch.randint(2, (4, 16), generator=draw),
        attention_mask=mask,
        masked_positions=positions,
        masked_labels=labels if filled else labels[:masked],
        next_sentence_labels=torch.randint(2, (4,), generator=draw),
        lengths=torch.tensor([16, 16, 16, 9]),
    )


def passes(dtype: str, *, device: torch.device, recorded: bool, dropout: bool) -> list[list[Tensor]]:
    """The sums and gradients of five batches of one kind, one after the other."""
    config = CONFIG if dropout else CONFIG.replace(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model = BertForPreTraining(config, generator=torch.Generator().manual_seed(0)).train().to(device)
    run = backward_pass(model, device=device, precision=choose_precision(dtype, device))
    on_gpu = device.type == "cuda"
    found = []
    for number in range(5):
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad.zero_()
        torch.manual_seed(number)
        masked = 7 + number
        inputs = (batch(number, masked, filled=on_gpu), torch.tensor([masked, 4.0]))
        if on_gpu and not recorded:
            assert isinstance(run, Graphed)
            sums = run.function(*tree_map_only(Tensor, lambda tensor: tensor.to(device), inputs))
        else:
            sums = run(*inputs)
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        found.append([one.detach().float().cpu().clone() for one in (*sums, *gradients)])
    return found


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("dropout", [False, True])
def test_a_recorded_pass_is_the_pass_bit_for_bit(dtype: str, dropout: bool) -> None:
    ours, theirs = (passes(dtype, device=GPU, recorded=recorded, dropout=dropout) for recorded in (True, False))
    for number, (recorded, called) in enumerate(zip(ours, theirs, strict=True)):
        for one, other in zip(recorded, called, strict=True):
            assert torch.equal(one, other), f"pass {number}"


def test_a_gpu_computes_what_a_cpu_does() -> None:
    ours = passes("float32", device=GPU, recorded=True, dropout=False)
    theirs = passes("float32", device=torch.device("cpu"), recorded=False, dropout=False)
    for on_gpu, on_cpu in zip(ours, theirs, strict=True):
        for one, other in zip(on_gpu, on_cpu, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("recipe", "compiled"), [("fast", "no"), ("paper", "no"), pytest.param("paper", "yes", marks=pytest.mark.slow)]
)
def test_a_resumed_run_is_bit_identical(arrays: Path, shape: Path, tmp_path: Path, recipe: str, compiled: str) -> None:
    common = (
        "--data", arrays, "--model", shape, "--recipe", recipe, "--seq-len", 32, "--batch-size", 16, "--steps", 12,
        "--accumulate", 2, "--compile", compiled, "--save-every", 5, "--device", "cuda",
    )  # fmt: skip

    def options(out: Path, *more: object) -> list[str]:
        return [*map(str, (*common, "--out", out, *more))]

    train(parse_options(options(tmp_path / "whole")))
    step = Pretraining.step
    with pytest.MonkeyPatch.context() as patch:

        def stopped(self: Pretraining, stop: object) -> object:
            if self.progress.step == 7:
                raise KeyboardInterrupt
            return step(self, stop)  # type: ignore[arg-type]

        patch.setattr(Pretraining, "step", stopped)
        with pytest.raises(KeyboardInterrupt):
            train(parse_options(options(tmp_path / "parts")))
    train(parse_options(options(tmp_path / "parts", "--resume")))
    whole, parts = (checkpoint.load(tmp_path / name)[0].state_dict() for name in ("whole", "parts"))
    different = [name for name in whole if not torch.equal(whole[name], parts[name])]
    assert not different
