"""python -m benchmarks: ours against what people use, on the same work, in one run side by side."""

import signal

from minibert.console import cli

COMMANDS = {
    "pretrain": (
        "benchmarks.commands:pretrain",
        "pretraining steps beside a loop around transformers' model: --model mini",
    ),
    "quality": (
        "benchmarks.commands:quality",
        "how soon a held-out loss is reached, beside the same loop: --model mini",
    ),
    "finetune": (
        "benchmarks.commands:finetune",
        "a task's figures and speed beside the transformers Trainer's: --task cola --model HF_DIR --data DIR",
    ),
    "encode": (
        "benchmarks.commands:encode",
        "vectors of texts, beside sentence-transformers, ONNX Runtime and transformers: --model HF_DIR --data FILE",
    ),
    "prepare": (
        "benchmarks.commands:prepare",
        "text to token arrays to batches: --corpus FILE",
    ),
    "all": (
        "benchmarks.commands:suite",
        "the comparisons behind the tables of docs/performance.md, and these tables: --model HF_DIR --data DIR",
    ),
}


def main() -> None:
    """Runs one of `COMMANDS`; SIGTERM ends it as Ctrl-C does, and with it the run at hand."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    cli.dispatch("python -m benchmarks", COMMANDS)


if __name__ == "__main__":
    cli.run(main)
