"""Pseudo-log-likelihoods: by minibert, or by the usual loop around transformers. `benchmarks.score` runs this module in
a process of its own:

    python -m benchmarks.peers.scores WORK.json RESULT.json
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

import minibert
from benchmarks.runner import OURS, Run
from minibert.training.memory import peak_rss_bytes

TRANSFORMERS = "transformers"
WARM_UP = 20  # sentences

Score = Callable[[Sequence[str]], Sequence[float]]


@dataclass(frozen=True)
class ScoreWork:
    """The work of one run."""

    side: str  # a key of `SIDES`
    repeat: int
    model: str  # a Hugging Face directory
    converted: str  # the same model as a model directory
    texts: str  # a JSON list: good, bad, good, bad, ...
    dtype: str  # of both sides
    threads: int


def main(given: str, result: str) -> None:
    """Score all texts once, after a few to warm up, and write the result."""
    work = ScoreWork(**json.loads(Path(given).read_text(encoding="utf-8")))
    torch.set_num_threads(work.threads)
    texts = json.loads(Path(work.texts).read_text(encoding="utf-8"))
    score = SIDES[work.side](work)
    score(texts[:WARM_UP])
    started = time.perf_counter()
    scores = list(score(texts))
    seconds = time.perf_counter() - started
    run = Run(
        side=work.side,
        seed=work.repeat,
        work={"texts": len(texts)},
        metrics={"accuracy": float(np.greater(scores[::2], scores[1::2]).mean())},
        figures={"texts_per_second": len(texts) / seconds, "peak_memory": peak_rss_bytes()},
        notes={"scores": scores},
    )
    Path(result).write_text(json.dumps(asdict(run)), encoding="utf-8")


def ours(work: ScoreWork) -> Score:
    """Use `minibert.score`."""
    model, tokenizer = minibert.load(work.converted)
    model.to(getattr(torch, work.dtype))
    return lambda texts: minibert.score(model, tokenizer, texts).tolist()


def transformers_loop(work: ScoreWork) -> Score:
    """Use AutoModelForMaskedLM: one batch of all masked copies of a sentence, then the next sentence."""
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(work.model)
    model = AutoModelForMaskedLM.from_pretrained(work.model, dtype=getattr(torch, work.dtype)).eval()

    @torch.inference_mode()
    def score(texts: Sequence[str]) -> list[float]:
        found = []
        for text in texts:
            ids = tokenizer(text, return_tensors="pt").input_ids  # (1, T)
            places = torch.arange(1, ids.size(1) - 1)
            rows = torch.arange(len(places))
            copies = ids.repeat(len(places), 1)
            copies[rows, places] = tokenizer.mask_token_id
            logits = model(copies).logits[rows, places].float()
            found.append(logits.log_softmax(-1)[rows, ids[0, places]].sum().item())
        return found

    return score


SIDES = {OURS: ours, TRANSFORMERS: transformers_loop}


if __name__ == "__main__":
    main(*sys.argv[1:])
