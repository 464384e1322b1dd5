"""python -m benchmarks: minibert against what people otherwise use, on the same work, in one run."""

import signal

from minibert.console import cli

COMMANDS = {
    "pretrain": (
        "benchmarks.commands:pretrain",
        "compare the speed of pretraining with that of a loop around transformers: --model mini",
    ),
    "quality": (
        "benchmarks.commands:quality",
        "compare how soon pretraining and a loop around transformers reach a held-out loss: --model mini",
    ),
    "finetune": (
        "benchmarks.commands:finetune",
        "compare fine-tuning with the transformers Trainer: --task cola --model HF_DIR --data DIR",
    ),
    "encode": (
        "benchmarks.commands:encode",
        "compare text vectors with sentence-transformers, ONNX Runtime or transformers: --model HF_DIR --data FILE",
    ),
    "long": (
        "benchmarks.commands:long",
        "compare the encoding of a long text with transformers' Longformer: --model HF_DIR",
    ),
    "score": (
        "benchmarks.commands:score",
        "compare the scoring of sentences with a loop around transformers: --model HF_DIR --data FILE",
    ),
    "prepare": (
        "benchmarks.commands:prepare",
        "measure how fast token arrays and batches are made: --corpus FILE",
    ),
    "all": (
        "benchmarks.commands:suite",
        "measure what most tables of docs/performance.md report, and write the tables: --model HF_DIR --data DIR",
    ),
}


def main() -> None:
    """Run one of `COMMANDS`; SIGTERM ends it as Ctrl-C does, along with the run in progress."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    cli.dispatch("python -m benchmarks", COMMANDS)


if __name__ == "__main__":
    cli.run(main)
