"""Whether a training has room: what it needs of memory, told before anything is built or written, and what there is.

What is counted is what must be there at one time whatever else is: an estimate from below, so that what it refuses
would not have run. Libraries, and what is in flight between two of the numbers here, take more: of what runs of tiny to
small models took, this was 70 to 90 %.

Shapes: see `minibert.model`; here also I, the intermediate size. Sizes are whole numbers of Python's, which don't
overflow: the fields of a config may say anything.
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

NEARLY_ALL = 0.8  # of the memory: from there on the user is told
# Linux's groups, by which containers are kept apart: those of this process, and where their limits stand.
MEMBERSHIP, CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")

# --- What is needed --------------------------------------------------------------------------------------------------


def block_matrices(config: BertConfig) -> int:
    """Numbers in the matrices of all blocks, a shared one once: query, key, value, output 4H², feed-forward 2HI."""
    hidden, inner = config.hidden_size, config.intermediate_size
    return (1 if config.share_layers else config.num_hidden_layers) * (4 * hidden**2 + 2 * hidden * inner)


def parameter_count(config: BertConfig, architecture: str, *, labels: int = 0) -> int:
    """Exactly as many parameters as a model of this class has, a tied matrix counted once.

    labels: of a classifier of sequences or tokens.
    """
    vocabulary, hidden, width = config.vocab_size, config.hidden_size, config.embedding_width
    layers = 1 if config.share_layers else config.num_hidden_layers
    tables = (vocabulary + config.max_position_embeddings + config.type_vocab_size) * width
    projection = hidden * (width + 1) if config.embedding_size else 0
    vectors = layers * (9 * hidden + config.intermediate_size)  # five biases, of 5H + I, and two LayerNorms
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
    """Sequences that go forward and backward together, and in which way."""

    sequences: int  # B
    length: int  # T
    returned: int  # positions that the last block computes: B·T, or those alone that a head looks at
    numbers: int  # bytes of an activation
    dropout: bool
    on_gpu: bool

    def activations(self, config: BertConfig, *, learns: bool = True) -> int:
        """Bytes that a forward pass keeps for the backward one.

        learns: the encoder's own weights do; else the inputs of its dense layers are not kept (LoRA).
        """
        hidden, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
        rows = self.sequences * self.length
        # The fused kernel keeps no (T, T). Written out, the probabilities are kept; with dropout also what it left of
        # them, and its mask (`minibert.model.DotProductAttention`).
        squares = 0 if self.on_gpu else 3 if self.dropout else 1 if self.numbers == 2 else 0
        # A position's: query, key and value 3H, and what attention makes of them, H, given to the output layer.
        attention = 4 * hidden + squares * config.num_attention_heads * self.length
        # Both LayerNorms' inputs 2H and outputs 2H, each the next layer's input; the activation's input and output.
        rest = (4 if learns else 2) * hidden + (2 if learns else 1) * inner + 2 * hidden * self.dropout
        embedded = 2 * config.embedding_width  # LayerNorm's input and output
        kept = rows * (embedded * learns + layers * attention + (layers - 1) * rest) + self.returned * rest
        in_flight = 2 * min(squares, 1) * rows * config.num_attention_heads * self.length  # gradients of a (T, T)
        return self.numbers * (kept + in_flight)

    def outputs(self, config: BertConfig) -> int:
        """Bytes that a pass without gradients holds at one time: one block's feed-forward layer."""
        return self.numbers * self.sequences * self.length * (2 * config.intermediate_size + config.hidden_size)


def needs(
    *, weights: int, learned: int, moments: int, numbers: int, activations: int, gradients_stay: bool
) -> dict[str, int]:
    """Bytes of one process at the time when it needs most, by what they are for.

    weights, learned, moments: parameters, those of them that learn, and the optimizer's numbers for them; numbers:
    bytes of each; gradients_stay: they are there during the forward pass, from the micro-batch before.
    """
    parts = {
        "the program": psutil.Process().memory_info().rss,
        "weights": weights * numbers,
        "optimizer": moments * numbers,
    }
    passes = {"gradients": learned * numbers, "activations": activations}
    if not gradients_stay:  # an activation has gone when the gradients that it leads to are there
        del passes[min(passes, key=lambda part: passes[part])]
    return parts | passes


# --- What there is ---------------------------------------------------------------------------------------------------


def machine_memory() -> int:
    """Bytes that this process may have at most: the machine's, or what a container or a limit leaves of them."""
    limits = [psutil.virtual_memory().total, *_resource_limits()]
    with contextlib.suppress(OSError, ValueError):  # they may not be read here, or have another form
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
        for group in (inner, *inner.parents):  # which inside a container may be its host's, and not there
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
    """A line for the user where a run will need nearly all the memory there is; None where it will not.

    parts: as `needs`; processes: of the run; smaller: what the user may change, to need less.

    Raises InputError: it needs more than there is.
    """
    if device.type == "cuda":
        import torch

        there, place = torch.cuda.mem_get_info(device)[1], "the GPU"
        processes = 1  # a GPU each
        parts = {name: size for name, size in parts.items() if name != "the program"}
    else:
        there, place = machine_memory(), "this machine"
        told = os.environ.get("LOCAL_WORLD_SIZE", "")  # by torchrun: how many are on this machine
        processes = min(processes, int(told)) if told.isdecimal() else processes
    needed = processes * sum(parts.values())
    if needed <= NEARLY_ALL * there:
        return None
    shown = ", ".join(f"{name} {gigabytes(size)}" for name, size in parts.items() if 200 * size > sum(parts.values()))
    each = f"for each of {processes} processes " if processes > 1 else ""
    line = f"at least {gigabytes(needed)} GB of memory are needed ({each}{shown}); {place} has {gigabytes(there)} GB"
    if needed > there:
        raise InputError(f"{line}: {smaller} needs less")
    return f"note     {line}"


def gigabytes(size: int) -> str:
    """Bytes as a number of GB for people."""
    return f"{size / 1e9:,.1f}" if size < 10**18 else f"10^{int(math.log10(size)) - 9}"


# --- When it was not enough ------------------------------------------------------------------------------------------

# How torch, numpy, safetensors and CUDA say that they got no memory, beside MemoryError and torch.OutOfMemoryError.
SIGNS = re.compile(
    r"can't allocate memory|cannot allocate memory|not enough memory|out of memory|unable to mmap|bad_?alloc|"
    r"alloc_failed|invalid buffer size|array is too big|maximum allowed (dimension|size)",
    re.IGNORECASE,
)


def out_of_memory(error: BaseException, *, step: int | None = None, last_good: str = "") -> OutOfMemory | None:
    """The ending that an allocation which failed comes to; None of another error.

    step: how many a training has done; last_good: the state that is kept of it.
    """
    # A system's error has a number; its text may hold any file's name.
    if isinstance(error, MinibertError) or (isinstance(error, OSError) and error.errno not in (None, errno.ENOMEM)):
        return None
    if not (isinstance(error, MemoryError) or SIGNS.search(str(error))):
        return None
    asked = re.search(r"allocate ([\d.]+ ?[KMGT]?i?B(?:ytes)?)", str(error), re.IGNORECASE)
    found = "out of memory" + (f": {asked[1]} more were asked for" if asked else "")
    if step is None:
        return OutOfMemory(f"{found}; a smaller model, or fewer or shorter texts at a time, need less")
    return OutOfMemory(
        f"step {step + 1}: {found}; last good state: {last_good}; continue with --resume where more memory is free, or "
        "begin anew with a smaller --batch-size or a larger --accumulate"
    )
