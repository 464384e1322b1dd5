"""The pretraining loop that one writes around transformers' `BertForPreTraining`: a label at every position, fused
AdamW, our schedule, gradients clipped. It is given our batches, made beforehand. Run by `benchmarks.pretrain`:

    python -m benchmarks.peers.transformers_pretraining WORK.json RESULT.json
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BertForPreTraining

from benchmarks.runner import Run
from minibert.training.memory import peak_rss_bytes
from minibert.training.schedule import learning_rate_factor
from pretrain.batches import BatchMaker, PretrainBatch, data_seed
from pretrain.instances import PairOptions, PairPlan
from pretrain.masking import Masker
from pretrain.shards import open_prepared

NO_LABEL = -100


@dataclass(frozen=True)
class PretrainWork:
    """What both sides are given."""

    data: str  # token arrays
    init: str  # the first weights, as a model directory of ours
    reference: str  # the same as a Hugging Face directory
    seq_len: int
    batch_size: int
    steps: int
    learning_rate: float
    betas: tuple[float, float]
    eps: float
    weight_decay: float
    clip_norm: float
    warmup_share: float
    dropout: float
    mask_rate: float
    short_share: float
    device: str
    seed: int


def main(given: str, result: str) -> None:
    """Trains, and writes what came of it."""
    fields = json.loads(Path(given).read_text(encoding="utf-8"))
    side, dtype = fields.pop("side"), fields.pop("dtype")
    run = train(PretrainWork(**fields), side, dtype)
    Path(result).write_text(json.dumps(asdict(run)), encoding="utf-8")


def train(work: PretrainWork, side: str, dtype: str) -> Run:
    """dtype: float32; autocast to bfloat16; bfloat16, the model cast."""
    batches = batches_of(work)
    device = torch.device(work.device)
    torch.manual_seed(work.seed)
    model = BertForPreTraining.from_pretrained(
        work.reference, hidden_dropout_prob=work.dropout, attention_probs_dropout_prob=work.dropout,
        dtype=torch.bfloat16 if dtype == "bfloat16" else torch.float32,
    )  # fmt: skip
    model.train()
    model.to(device)  # type: ignore[arg-type]  # wrapped, it has lost its type
    optimizer = torch.optim.AdamW(
        parameter_groups(model, work.weight_decay), lr=work.learning_rate, betas=work.betas, eps=work.eps, fused=True
    )

    def factor(step: int) -> float:
        shares = {"warmup_share": work.warmup_share, "decay_share": 1 - work.warmup_share}
        return learning_rate_factor((step + 0.5) / work.steps, **shares)

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    losses, seconds = [], []
    for batch in batches:
        started = time.perf_counter()
        inputs = {name: tensor.to(device) for name, tensor in reference_inputs(batch).items()}
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == "autocast"):
            loss = model(**inputs).loss
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), work.clip_norm)
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        seconds.append(time.perf_counter() - started)
    return Run(
        side=side,
        seed=work.seed,
        work=counts(batches),
        metrics={},
        figures={"peak_memory": peak_rss_bytes()},
        notes={"losses": losses, "seconds": seconds},
    )


def batches_of(work: PretrainWork) -> list[PretrainBatch]:
    """The batches of our run's steps: they are a function of arrays, options and seed alone."""
    corpus = open_prepared(work.data, check=False)
    pairs = PairOptions(work.seq_len, nsp=True, short_share=work.short_share)
    masker = Masker.of(corpus.tokenizer, rate=work.mask_rate, whole_words=False)
    seed = data_seed(work.seed, phase=0)
    plan = PairPlan(corpus.train, pairs, seed=seed)
    maker = BatchMaker(corpus.train, corpus.tokenizer, pairs, masker, seed=seed)
    size = work.batch_size
    return [
        maker.micro_batches(plan, start=step * size, stop=(step + 1) * size, parts=1)[0] for step in range(work.steps)
    ]


def reference_inputs(batch: PretrainBatch) -> dict[str, Tensor]:
    """The batch as the reference takes it: a label for every position, most of which say that there is none."""
    labels = torch.full((batch.positions,), NO_LABEL)
    labels[batch.masked_positions[: len(batch.masked_labels)]] = batch.masked_labels
    mask = torch.ones_like(batch.input_ids) if batch.attention_mask is None else batch.attention_mask.long()
    return {
        "input_ids": batch.input_ids,
        "token_type_ids": batch.token_type_ids,
        "attention_mask": mask,
        "labels": labels.view_as(batch.input_ids),
        "next_sentence_label": batch.next_sentence_labels,
    }


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay, vectors don't."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in parameters if parameter.ndim >= 2], "weight_decay": weight_decay},
        {"params": [parameter for parameter in parameters if parameter.ndim < 2], "weight_decay": 0.0},
    ]


def counts(batches: Sequence[PretrainBatch]) -> dict[str, int]:
    """How much is trained on."""
    return {"steps": len(batches), "tokens": sum(batch.tokens for batch in batches)}


if __name__ == "__main__":
    main(*sys.argv[1:])
