"""One long text through an encoder: minibert's windowed attention, its full attention, or transformers' Longformer.
`benchmarks.long` runs this module in a process of its own:

    python -m benchmarks.peers.long_texts WORK.json RESULT.json
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
import torch
from torch import Tensor

import minibert
from benchmarks.runner import OURS, Run
from minibert.fast import accelerate
from minibert.model import Bert
from minibert.training.memory import peak_rss_bytes
from minibert.windowed import GLOBAL, LOCAL

FULL, TRANSFORMERS = "full attention", "transformers"
CLEAR_REFS = Path("/proc/self/clear_refs")  # on Linux, writing 5 there resets the peak
FEW = 16  # tokens

Encode = Callable[[Tensor, Tensor], Tensor]  # (1, T) ids, (1, T) PADDING, LOCAL or GLOBAL -> (1, T, H)


@dataclass(frozen=True)
class LongWork:
    """The work of one run."""

    side: str  # a key of `SIDES`
    repeat: int
    model: str  # a Hugging Face directory
    converted: str  # the same model as a model directory
    tokens: int  # T
    global_tokens: int  # the first of these
    dtype: str
    passes: int
    threads: int


def main(given: str, result: str) -> None:
    """Encode one text several times, and write the times and the memory above that of the loaded model."""
    work = LongWork(**json.loads(Path(given).read_text(encoding="utf-8")))
    torch.set_num_threads(work.threads)
    encode, vocabulary = SIDES[work.side](work)
    input_ids = torch.randint(5, vocabulary, (1, work.tokens), generator=torch.Generator().manual_seed(work.tokens))
    mask = torch.full_like(input_ids, LOCAL)
    mask[:, : work.global_tokens] = GLOBAL
    with torch.inference_mode():
        encode(input_ids[:, :FEW], mask[:, :FEW])  # weights are read from the file when they are first used
    loaded = psutil.Process().memory_info().rss
    if CLEAR_REFS.exists():
        CLEAR_REFS.write_text("5", encoding="ascii", newline="\n")
    seconds = []
    with torch.inference_mode():
        for _ in range(1 + work.passes):
            started = time.perf_counter()
            hidden = encode(input_ids, mask)
            seconds.append(time.perf_counter() - started)
    run = Run(
        side=f"{work.side}, {work.tokens}",
        seed=work.repeat,
        work={"tokens": work.tokens},
        metrics={},
        figures={
            "seconds": statistics.median(seconds[1:]),
            "loaded_memory": loaded,
            "memory": peak_rss_bytes() - loaded,
        },
        notes={"some_states": hidden[0, :: max(1, work.tokens // 8), :8].float().tolist()},
    )
    Path(result).write_text(json.dumps(asdict(run)), encoding="utf-8")


def windowed(work: LongWork) -> tuple[Encode, int]:
    """minibert, as `minibert.load` gives it."""
    encoder = minibert.load(work.converted)[0].encoder.to(getattr(torch, work.dtype))
    return (lambda input_ids, mask: encoder(input_ids, attention_mask=mask)), encoder.config.vocab_size


def full(work: LongWork) -> tuple[Encode, int]:
    """The same weights with every token attending to all, as in BERT."""
    windowed = minibert.load(work.converted)[0].encoder
    weights = {name: tensor for name, tensor in windowed.state_dict().items() if ".global_" not in name}
    with torch.device("meta"):
        encoder = accelerate(Bert(windowed.config.replace(attention_window=None, sep_token_id=None)))
    encoder.load_state_dict(weights, assign=True)
    encoder.eval().to(getattr(torch, work.dtype))
    return (lambda input_ids, mask: encoder(input_ids, attention_mask=mask > 0)), encoder.config.vocab_size


def transformers_model(work: LongWork) -> tuple[Encode, int]:
    """transformers' LongformerModel."""
    from transformers import LongformerModel

    model = LongformerModel.from_pretrained(
        work.model, dtype=getattr(torch, work.dtype), add_pooling_layer=False
    ).eval()

    def encode(input_ids: Tensor, mask: Tensor) -> Tensor:
        is_global = (mask == GLOBAL).long() if work.global_tokens else None
        return model(input_ids, attention_mask=(mask > 0).long(), global_attention_mask=is_global).last_hidden_state

    return encode, model.config.vocab_size


SIDES = {OURS: windowed, TRANSFORMERS: transformers_model, FULL: full}


if __name__ == "__main__":
    main(*sys.argv[1:])
