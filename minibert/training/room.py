"""Whether a run has enough memory: what it needs, estimated before anything is built or written, and what there is.

The estimate is a lower bound, counting only what must be in memory at the same time in any case, so that a refused run
could not have worked. Libraries and temporary values take more: the estimate was 70 to 90 % of what runs of tiny to
small models really took.

Shapes: see `minibert.model`; here also I, the intermediate size. Sizes are Python integers, which don't overflow: the
fields of a config may have any value.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import psutil

from minibert.config import BertConfig
from minibert.errors import InputError, MinibertError, OutOfMemory

if TYPE_CHECKING:
    import torch

NEARLY_ALL = 0.8  # the share of the memory above which the user is warned
# Linux's control groups, which limit containers: the list of this process's groups, and the folder with their limits.
MEMBERSHIP, CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")

# --- What is needed --------------------------------------------------------------------------------------------------


def block_matrices(config: BertConfig) -> int:
    """Count the weights in all blocks' matrices, shared ones once: query, key, value, output 4H², feed-forward 2HI; in
    a Longformer also query, key and value of global tokens.
    """
    hidden, inner = config.hidden_size, config.intermediate_size
    squares = 4 if config.attention_window is None else 7
    return (1 if config.share_layers else config.num_hidden_layers) * (squares * hidden**2 + 2 * hidden * inner)


def parameter_count(config: BertConfig, architecture: str, *, labels: int = 0) -> int:
    """Return the exact number of parameters of a model of this class; a tied matrix counts once.

    labels: the number of labels of a sequence or token classifier.
    """
    vocabulary, hidden, width = config.vocab_size, config.hidden_size, config.embedding_width
    layers = 1 if config.share_layers else config.num_hidden_layers
    tables = (vocabulary + config.max_position_embeddings + config.type_vocab_size) * width
    projection = hidden * (width + 1) if config.embedding_size else 0
    # The biases of all matrices and two LayerNorms.
    vectors = layers * ((9 if config.attention_window is None else 12) * hidden + config.intermediate_size)
    pooler = hidden * (hidden + 1)
    masked_lm = width * (hidden + 1) + 2 * width + vocabulary  # dense layer, LayerNorm, the decoder's bias
    pair = 2 * (hidden + 1)
    heads = {
        "Bert": 0,
        "BertWithPooler": pooler,
        "BertForPreTraining": pooler + masked_lm + pair,
        "BertForMaskedLM": masked_lm,
        "BertForNextSentencePrediction": pooler + pair,
        "BertForSequenceClassification": pooler + labels * (hidden + 1),
        "BertForTokenClassification": labels * (hidden + 1),
        "BertForQuestionAnswering": pair,
        "BertForMultipleChoice": pooler + hidden + 1,
    }
    return tables + 2 * width + projection + block_matrices(config) + vectors + heads[architecture]


@dataclass(frozen=True)
class Passes:
    """The sequences that go through the model together, and how."""

    sequences: int  # B
    length: int  # T
    returned: int  # positions that the last block computes: B·T, or only those that a head reads
    numbers: int  # bytes per number in an activation
    dropout: bool
    on_gpu: bool

    def activations(self, config: BertConfig, *, learns: bool = True) -> int:
        """Return the number of bytes that a forward pass keeps for the backward pass.

        learns: whether the encoder's own weights are trained; if not (LoRA), its dense layers' inputs are not kept.
        """
        from minibert.fast.windowed import keys_at_once  # here, since it imports PyTorch, which other uses do without

        hidden, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
        rows = self.sequences * self.length
        # The fused kernel keeps no (T, T). Otherwise the probabilities are kept and, with dropout, also the dropped-out
        # probabilities and the mask (`minibert.model.DotProductAttention`).
        squares = 0 if self.on_gpu else 3 if self.dropout else 1 if self.numbers == 2 else 0
        heads, windowed = config.num_attention_heads, config.attention_window is not None
        # A query's keys in each layer; a window of 2T is all of them.
        keys = [keys_at_once(self.length, w) for w in config.attention_window or (2 * self.length,) * layers]
        # Per position: query, key and value 3H, and the result of attention H, which the output layer reads. In a
        # Longformer also keys and values that overlap, 2H, and the fused kernel's mask, as numbers.
        attention = layers * 4 * hidden + (squares * heads or windowed) * sum(keys)
        attention += 2 * hidden * sum(seen != self.length for seen in keys)
        # Both LayerNorms' inputs 2H and outputs 2H, which the next layers read; the activation's input and output.
        rest = (4 if learns else 2) * hidden + (2 if learns else 1) * inner + 2 * hidden * self.dropout
        embedded = 2 * config.embedding_width  # LayerNorm's input and output
        kept = rows * (embedded * learns + attention + (layers - 1) * rest) + self.returned * rest
        in_flight = 2 * min(squares, 1) * rows * heads * max(keys)  # gradients of a (T, T)
        return self.numbers * (kept + in_flight)

    def outputs(self, config: BertConfig) -> int:
        """Return the number of bytes that a pass without gradients holds at once: one block's feed-forward layer."""
        return self.numbers * self.sequences * self.length * (2 * config.intermediate_size + config.hidden_size)


def needs(
    *, weights: int, learned: int, moments: int, numbers: int, activations: int, gradients_stay: bool
) -> dict[str, int]:
    """Return the bytes that one process needs at its peak, by purpose.

    weights, learned, moments: the numbers of parameters, of trained parameters, and of optimizer values for these;
    numbers: bytes of each; gradients_stay: whether gradients of an earlier micro-batch exist in the forward pass.
    """
    parts = {
        "the program": psutil.Process().memory_info().rss,
        "weights": weights * numbers,
        "optimizer": moments * numbers,
    }
    passes = {"gradients": learned * numbers, "activations": activations}
    if not gradients_stay:  # activations are freed as gradients are made: the peak is the larger
        del passes[min(passes, key=lambda part: passes[part])]
    return parts | passes


# --- What there is ---------------------------------------------------------------------------------------------------


def machine_memory() -> int:
    """Return the most bytes that this process may have: the machine's, or a container's or the process's limit."""
    limits = [psutil.virtual_memory().total, *_resource_limits()]
    with contextlib.suppress(OSError, ValueError):  # they may be unreadable or in another format
        limits += _cgroup_limits()
    return min(limits)


def _cgroup_limits() -> Iterator[int]:
    if not MEMBERSHIP.exists():
        return
    for line in MEMBERSHIP.read_text(encoding="utf-8", errors="replace").splitlines():
        _, controllers, place = line.split(":", 2)
        if controllers == "":  # version 2
            root, name = CGROUPS, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = CGROUPS / "memory", "memory.limit_in_bytes"
        else:
            continue
        inner = PurePosixPath(place.lstrip("/"))
        for group in (inner, *inner.parents):  # inside a container it may be the host's, and missing
            file = root / group / name
            if file.is_file() and (text := file.read_text(encoding="ascii").strip()).isdecimal():
                yield int(text)  # else "max"


def _resource_limits() -> Iterator[int]:
    try:
        import resource
    except ImportError:  # Windows
        return
    for limit in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        if (most := resource.getrlimit(limit)[0]) != resource.RLIM_INFINITY:
            yield most


def check_room(parts: Mapping[str, int], device: torch.device, *, processes: int, smaller: str) -> str | None:
    """Return a line for the user if a run will need nearly all the memory; None if it won't.

    parts: the result of `needs`; processes: how many the run has; smaller: the changes that would need less memory.

    Raises InputError if the run needs more memory than there is.
    """
    if device.type == "cuda":
        import torch

        there, place = torch.cuda.mem_get_info(device)[1], "the GPU"
        processes = 1  # each has its own GPU
        parts = {name: size for name, size in parts.items() if name != "the program"}
    else:
        there, place = machine_memory(), "this machine"
        told = os.environ.get("LOCAL_WORLD_SIZE", "")  # torchrun's: the processes on this machine
        processes = min(processes, int(told)) if told.isdecimal() else processes
    needed = processes * sum(parts.values())
    if needed <= NEARLY_ALL * there:
        return None
    shown = ", ".join(f"{name} {gigabytes(size)}" for name, size in parts.items() if 200 * size > sum(parts.values()))
    each = f"for each of {processes} processes: " if processes > 1 else ""
    line = f"at least {gigabytes(needed)} GB of memory is needed ({each}{shown}); {place} has {gigabytes(there)} GB"
    if needed > there:
        raise InputError(f"{line}: {smaller} needs less")
    return line


def gigabytes(size: int) -> str:
    """Format bytes as a readable number of GB."""
    return f"{size / 1e9:,.1f}" if size < 10**18 else f"10^{int(math.log10(size)) - 9}"


# --- When it was not enough ------------------------------------------------------------------------------------------

# How torch, numpy, safetensors and CUDA report a failed allocation, besides MemoryError and torch.OutOfMemoryError.
SIGNS = re.compile(
    r"can't allocate memory|cannot allocate memory|not enough memory|out of memory|unable to mmap|bad_?alloc|"
    r"alloc_failed|invalid buffer size|array is too big|maximum allowed (dimension|size)",
    re.IGNORECASE,
)


def out_of_memory(error: BaseException, *, step: int | None = None, last_good: str = "") -> OutOfMemory | None:
    """Return the error to end with if `error` is a failed allocation; None if it is another error.

    step: how many steps a run has done; last_good: its last good state.
    """
    # An error of the system has a number; its text may contain any file name.
    if isinstance(error, MinibertError) or (isinstance(error, OSError) and error.errno not in (None, errno.ENOMEM)):
        return None
    if not (isinstance(error, MemoryError) or SIGNS.search(str(error))):
        return None
    asked = re.search(r"allocate ([\d.]+ ?[KMGT]?i?B(?:ytes)?)", str(error), re.IGNORECASE)
    found = "out of memory" + (f": {asked[1]} could not be allocated" if asked else "")
    if step is None:
        return OutOfMemory(f"{found}; a smaller model, or fewer or shorter texts at a time, needs less")
    return OutOfMemory(
        f"step {step + 1}: {found}; last good state: {last_good}; continue with --resume when more memory is free, or "
        "start over with a smaller --batch-size or a larger --accumulate"
    )
