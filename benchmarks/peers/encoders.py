"""What makes vectors of texts: minibert and the peers, each used as its own documentation shows, all with mean pooling
and vectors of length 1. `benchmarks.encode` runs this module in a process of its own:

    python -m benchmarks.peers.encoders WORK.json RESULT.json
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.runner import Run
from minibert.training.memory import peak_rss_bytes

Encode = Callable[[Sequence[str]], NDArray[np.float32]]  # texts -> (texts, H)
Count = Callable[[Sequence[str]], int]  # texts -> the number of their tokens, special ones included

WARM_UP = 20  # texts that are encoded one at a time before those that are timed


@dataclass(frozen=True)
class EncodeWork:
    """The work of one run."""

    side: str  # a key of `ENCODERS`
    repeat: int
    model: str  # a Hugging Face directory
    converted: str  # the same model as a model directory
    onnx: str  # the same model as an ONNX graph, written by `benchmarks.peers.onnx_export`
    texts: str  # a JSON list
    dtype: str  # number format of minibert
    batch_size: int  # of the peer
    passes: int
    singles: int
    threads: int


def main(given: str, result: str) -> None:
    """Encode all texts several times, then some of them one at a time, and write the result."""
    work = EncodeWork(**json.loads(Path(given).read_text(encoding="utf-8")))
    texts = json.loads(Path(work.texts).read_text(encoding="utf-8"))
    started = time.perf_counter()
    encode, count = ENCODERS[work.side](work)
    loading = time.perf_counter() - started
    seconds = []
    for _ in range(1 + work.passes):
        started = time.perf_counter()
        vectors = encode(texts)
        seconds.append(time.perf_counter() - started)
    latencies = []
    for number, text in enumerate(texts[: WARM_UP + work.singles]):
        started = time.perf_counter()
        encode([text])
        if number >= WARM_UP:
            latencies.append(time.perf_counter() - started)
    np.save(Path(result).with_suffix(".npy"), np.asarray(vectors, np.float32))
    run = Run(
        side=work.side,
        seed=work.repeat,
        work={"texts": len(texts), "tokens": count(texts)},
        metrics={},
        figures={
            "texts_per_second": len(texts) / statistics.median(seconds[1:]),
            "first_pass_seconds": seconds[0],
            "pass_seconds": statistics.median(seconds[1:]),
            "single_seconds": statistics.median(latencies),
            "load_seconds": loading,
            "peak_memory": peak_rss_bytes(),
        },
    )
    Path(result).write_text(json.dumps(asdict(run)), encoding="utf-8")


def ours(work: EncodeWork) -> tuple[Encode, Count]:
    """Use minibert as README shows."""
    import minibert
    from minibert.embedding import embed

    model, tokenizer = minibert.load(work.converted)
    model.to(getattr(torch, work.dtype))

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        return embed(model, tokenizer, texts, normalize=True)

    return encode, lambda texts: sum(map(len, tokenizer.encode_whole(texts)))


def sentence_transformers(work: EncodeWork) -> tuple[Encode, Count]:
    """Use `SentenceTransformer(...).encode(texts)`."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(work.model, device="cpu")

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = model.encode(
            list(texts), batch_size=work.batch_size, normalize_embeddings=True, show_progress_bar=False
        )
        return found

    return encode, lambda texts: count_tokens(model.tokenizer, texts)


def transformers_plain(work: EncodeWork) -> tuple[Encode, Count]:
    """Use the loop of the model's own card, in float32: texts in their order, each batch padded to its longest."""
    return _transformers(work, dtype=torch.float32, autocast=False)


def transformers_autocast(work: EncodeWork) -> tuple[Encode, Count]:
    """Use the same loop under autocast to bfloat16."""
    return _transformers(work, dtype=torch.float32, autocast=True)


def transformers_bfloat16(work: EncodeWork) -> tuple[Encode, Count]:
    """Use the same loop with the model cast to bfloat16."""
    return _transformers(work, dtype=torch.bfloat16, autocast=False)


def _transformers(work: EncodeWork, *, dtype: torch.dtype, autocast: bool) -> tuple[Encode, Count]:
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(work.model)
    model = AutoModel.from_pretrained(work.model, dtype=dtype).eval()

    @torch.inference_mode()
    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        found = []
        for start in range(0, len(texts), work.batch_size):
            batch = tokenizer(list(texts[start : start + work.batch_size]), padding=True, return_tensors="pt")
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
                hidden = model(**batch).last_hidden_state
            found.append(mean_pooled(hidden.float().numpy(), batch["attention_mask"].numpy()))
        return np.concatenate(found)

    return encode, lambda texts: count_tokens(tokenizer, texts)


def onnxruntime(work: EncodeWork) -> tuple[Encode, Count]:
    """Use the ONNX graph in float32, with texts of similar length in a batch."""
    import onnxruntime as runtime
    from transformers import AutoTokenizer

    options = runtime.SessionOptions()
    options.intra_op_num_threads = work.threads
    session = runtime.InferenceSession(work.onnx, options, providers=["CPUExecutionProvider"])
    tokenizer = AutoTokenizer.from_pretrained(work.model)

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        ids = tokenizer(list(texts))["input_ids"]
        order = sorted(range(len(ids)), key=lambda number: -len(ids[number]))
        vectors: Any = None
        for start in range(0, len(order), work.batch_size):
            numbers = order[start : start + work.batch_size]
            batch = tokenizer.pad({"input_ids": [ids[number] for number in numbers]}, return_tensors="np")
            mask = batch["attention_mask"].astype(np.int64)
            given = {"input_ids": batch["input_ids"].astype(np.int64), "attention_mask": mask}
            (hidden,) = session.run(None, {**given, "token_type_ids": np.zeros_like(mask)})
            if vectors is None:
                vectors = np.empty((len(texts), hidden.shape[-1]), np.float32)
            vectors[numbers] = mean_pooled(hidden, mask)
        return vectors

    return encode, lambda texts: count_tokens(tokenizer, texts)


def mean_pooled(hidden: NDArray[np.float32], mask: NDArray[np.int64]) -> NDArray[np.float32]:
    """Average the hidden states of real tokens and scale to length 1: (B, T, H), (B, T) -> (B, H)."""
    found = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def count_tokens(tokenizer: Any, texts: Sequence[str]) -> int:
    """Count the tokens that a peer's tokenizer makes."""
    return sum(map(len, tokenizer(list(texts))["input_ids"]))


ENCODERS: dict[str, Callable[[EncodeWork], tuple[Encode, Count]]] = {
    "ours": ours,
    "sentence-transformers": sentence_transformers,
    "onnxruntime": onnxruntime,
    "transformers": transformers_plain,
    "transformers-autocast": transformers_autocast,
    "transformers-bfloat16": transformers_bfloat16,
}


if __name__ == "__main__":
    main(*sys.argv[1:])
