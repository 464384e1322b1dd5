"""The usual pretraining loop around transformers' `BertForPreTraining`: a label at every position, fused AdamW, our
schedule, clipped gradients. It is given minibert's batches. `benchmarks.pretrain` and `quality` run this module:

    python -m benchmarks.peers.transformers_pretraining WORK.json RESULT.json
"""

import itertools
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BertForPreTraining

from benchmarks.runner import Run
from minibert.training.memory import peak_rss_bytes
from minibert.training.schedule import learning_rate_factor
from pretrain.arrays.shards import open_prepared
from pretrain.batches.batch import BatchMaker, PretrainBatch, data_seed
from pretrain.batches.masking import Masker
from pretrain.batches.pairs import PairOptions, PairPlan

NO_LABEL = -100


@dataclass(frozen=True)
class PretrainWork:
    """The work that both sides are given."""

    data: str  # token arrays
    init: str  # the first weights, as a model directory
    reference: str  # the same weights as a Hugging Face directory
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
    """Train, and write the result."""
    fields = json.loads(Path(given).read_text(encoding="utf-8"))
    side, dtype, minutes, out = (fields.pop(name, None) for name in ("side", "dtype", "minutes", "out"))
    work = PretrainWork(**fields)
    run = train(work, side, dtype) if minutes is None else train_for(work, side, dtype, minutes, out)
    Path(result).write_text(json.dumps(asdict(run)), encoding="utf-8")


class Loop:
    """The model, its optimizer, and the figures of the steps so far."""

    def __init__(self, work: PretrainWork, dtype: str) -> None:
        """Load the model. dtype: float32; autocast (to bfloat16); or bfloat16, to which the model is cast."""
        self.work = work
        self.autocast = dtype == "autocast"
        self.device = torch.device(work.device)
        torch.manual_seed(work.seed)
        self.model: Any = BertForPreTraining.from_pretrained(
            work.reference, hidden_dropout_prob=work.dropout, attention_probs_dropout_prob=work.dropout,
            dtype=torch.bfloat16 if dtype == "bfloat16" else torch.float32,
        )  # fmt: skip
        self.model.train()
        self.model.to(self.device)  # type: ignore[arg-type]  # wrapped, it has lost its type
        groups = parameter_groups(self.model, work.weight_decay)
        self.optimizer = torch.optim.AdamW(groups, lr=0.0, betas=work.betas, eps=work.eps, fused=True)
        self.losses: list[float] = []
        self.seconds: list[float] = []
        self.tokens = 0

    def step(self, batch: PretrainBatch, progress: float) -> None:
        """Take one step. progress: the share of the run that is done, 0 to 1, which decides the learning rate."""
        started = time.perf_counter()
        shares = {"warmup_share": self.work.warmup_share, "decay_share": 1 - self.work.warmup_share}
        for group in self.optimizer.param_groups:
            group["lr"] = self.work.learning_rate * learning_rate_factor(progress, **shares)
        inputs = {name: tensor.to(self.device) for name, tensor in reference_inputs(batch).items()}
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.autocast):
            loss = self.model(**inputs).loss
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.work.clip_norm)
        self.optimizer.step()
        self.losses.append(float(loss.detach()))
        self.seconds.append(time.perf_counter() - started)
        self.tokens += batch.tokens

    def run(self, side: str) -> Run:
        """Return the result of all steps."""
        on_gpu = self.device.type == "cuda"
        return Run(
            side=side,
            seed=self.work.seed,
            work={"steps": len(self.losses), "tokens": self.tokens},
            metrics={},
            figures={"peak_memory": torch.cuda.max_memory_reserved() if on_gpu else peak_rss_bytes()},
            notes={"losses": self.losses, "seconds": self.seconds},
        )


def train(work: PretrainWork, side: str, dtype: str) -> Run:
    """Train for `work.steps` steps, on batches that are made in advance."""
    batches = batches_of(work)
    loop = Loop(work, dtype)
    for number, batch in enumerate(batches):
        loop.step(batch, (number + 0.5) / work.steps)
    return loop.run(side)


def train_for(work: PretrainWork, side: str, dtype: str, minutes: float, out: str) -> Run:
    """Train for `minutes`, not counting the making of batches; save the model to `out`, a Hugging Face directory."""
    loop, spent = Loop(work, dtype), 0.0
    for batch in endless_batches(work):
        loop.step(batch, spent / (60 * minutes))
        spent = sum(loop.seconds)
        if spent >= 60 * minutes:
            break
    loop.model.float().save_pretrained(out)
    return loop.run(side)


def batches_of(work: PretrainWork) -> list[PretrainBatch]:
    """Return the batches of the steps of minibert's run."""
    return list(itertools.islice(endless_batches(work), work.steps))


def endless_batches(work: PretrainWork) -> Iterator[PretrainBatch]:
    """Yield the batches of minibert's runs, which are a function of the arrays, options and seed alone."""
    corpus = open_prepared(work.data, check=False)
    pairs = PairOptions(work.seq_len, short_share=work.short_share, separators=corpus.tokenizer.separators)
    masker = Masker.of(corpus.tokenizer, rate=work.mask_rate, whole_words=False)
    seed = data_seed(work.seed, phase=0)
    plan = PairPlan(corpus.train, pairs, seed=seed)
    maker = BatchMaker(corpus.train, corpus.tokenizer, pairs, masker, seed=seed)
    for start in itertools.count(0, work.batch_size):
        yield from maker.micro_batches(plan, start=start, stop=start + work.batch_size, parts=1)


def reference_inputs(batch: PretrainBatch) -> dict[str, Tensor]:
    """Return the batch as the reference takes it: with a label at every position, most of them `NO_LABEL`."""
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
    """Split the parameters into matrices, with weight decay, and vectors, without."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in parameters if parameter.ndim >= 2], "weight_decay": weight_decay},
        {"params": [parameter for parameter in parameters if parameter.ndim < 2], "weight_decay": 0.0},
    ]


if __name__ == "__main__":
    main(*sys.argv[1:])
