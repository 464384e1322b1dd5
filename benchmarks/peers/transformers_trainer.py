"""The peer in fine-tuning, transformers' Trainer with its defaults: float32, random batches that are padded to their
longest sequence, AdamW, a linear schedule, clipped gradients, dropout. `benchmarks.sides` runs this module:

    python -m benchmarks.peers.transformers_trainer WORK.json RESULT.json
"""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed

from benchmarks.peers.recipes import RECIPES, PeerFeature, Recipe
from benchmarks.runner import Run
from benchmarks.scores import score
from benchmarks.tasks import BENCHMARK_TASKS, FinetuneWork, read_examples
from minibert.files.writing import write_whole
from minibert.training.memory import peak_rss_bytes

NAME = "transformers"
FEATURES_AT_ONCE = 64
WATCH_FILE = "watch.json"


def main(given: str, result: str) -> None:
    """Train, and write the result."""
    fields = json.loads(Path(given).read_text(encoding="utf-8"))
    seed, work = fields.pop("seed"), FinetuneWork(**fields)
    run = train(work, seed, Path(result).parent)
    Path(result).write_text(json.dumps(asdict(run)), encoding="utf-8")


def train(work: FinetuneWork, seed: int, out: Path) -> Run:
    """Train, and answer the dev file after each epoch; the best epoch's answers count, as they do for minibert."""
    train_examples = list(read_examples(work.task, work.train))
    dev_examples = list(read_examples(work.task, work.dev))
    recipe = RECIPES[work.task](work, train_examples)
    features, dev = recipe.features(train_examples), recipe.features(dev_examples)
    set_seed(seed)  # for the fresh head
    watch = Watch(work.task, recipe, dev_examples, dev)
    model = recipe.model()
    trainer = Trainer(
        model=model,
        args=trainer_arguments(work, seed, out),
        train_dataset=[feature.inputs for feature in features],
        data_collator=recipe.collate,
        callbacks=[watch],
    )
    checkpoint = last_checkpoint(out)
    if checkpoint is not None:
        watch.go_on(checkpoint)
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    best = max(range(work.epochs), key=lambda epoch: watch.epochs[epoch][BENCHMARK_TASKS[work.task].metrics[-1]])
    return Run(
        side=NAME,
        seed=seed,
        work={
            "train_examples": len(train_examples),
            "features": len(features),
            "steps": trainer.state.global_step,
            "tokens": work.epochs * sum(sum(feature.lengths) for feature in features),
            "dev_examples": len(dev_examples),
        },
        metrics=watch.epochs[best],
        figures={
            "examples_per_second": work.epochs * len(features) / watch.seconds,
            "seconds": watch.seconds,
            "peak_memory": peak_rss_bytes(),
        },
        notes={"best_epoch": best + 1, "dtype": str(model.dtype).removeprefix("torch.")},
    )


def trainer_arguments(work: FinetuneWork, seed: int, out: Path) -> TrainingArguments:
    """Return the Trainer's defaults, except for what both sides are given, and for logging, which takes time. So does
    saving, but it is not timed."""
    return TrainingArguments(
        output_dir=str(out),
        num_train_epochs=work.epochs,
        per_device_train_batch_size=work.batch_size,
        learning_rate=work.learning_rate,
        warmup_steps=work.warmup_share,
        weight_decay=work.weight_decay,
        max_grad_norm=work.clip_norm,
        seed=seed,
        use_cpu=work.device == "cpu",
        save_strategy="epoch",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def last_checkpoint(out: Path) -> Path | None:
    """Return the last complete checkpoint of an interrupted run, or None."""
    whole = [found.parent for found in out.glob(f"checkpoint-*/{WATCH_FILE}")]
    return max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


class Watch(TrainerCallback):
    """A callback that times each epoch from its first batch to its last step, then answers and scores the dev file.

    It saves its figures in each checkpoint once that is complete.
    """

    def __init__(self, task: str, recipe: Recipe, examples: Sequence[Any], features: Sequence[PeerFeature]) -> None:
        self.task = task
        self.recipe = recipe
        self.examples = examples
        self.features = features
        self.seconds = 0.0
        self.started = 0.0
        self.epochs: list[dict[str, float]] = []  # the metrics after each

    def on_epoch_begin(self, *args: Any, **kwargs: Any) -> None:
        self.started = time.perf_counter()

    def on_epoch_end(self, *args: Any, **kwargs: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds += time.perf_counter() - self.started
        outputs = outputs_of(kwargs["model"], self.recipe, self.features)
        answers = self.recipe.answers(self.examples, self.features, outputs)
        self.epochs.append(score(self.task, self.examples, answers))

    def on_save(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        told = json.dumps({"seconds": self.seconds, "epochs": self.epochs})
        path = Path(args.output_dir) / f"checkpoint-{state.global_step}" / WATCH_FILE
        write_whole(path, lambda aside: aside.write_text(told, encoding="utf-8"))

    def go_on(self, checkpoint: Path) -> None:
        """Continue with the figures that were saved in a checkpoint."""
        told = json.loads((checkpoint / WATCH_FILE).read_text(encoding="utf-8"))
        self.seconds, self.epochs = told["seconds"], told["epochs"]


def outputs_of(model: Any, recipe: Recipe, features: Sequence[PeerFeature]) -> list[Any]:
    """Return the logits of each feature, in evaluation mode, with features of similar length in a batch."""
    order = sorted(range(len(features)), key=lambda number: -max(features[number].lengths))
    found: list[Any] = [None] * len(features)
    with evaluating(model), torch.inference_mode():
        for start in range(0, len(order), FEATURES_AT_ONCE):
            numbers = order[start : start + FEATURES_AT_ONCE]
            batch = recipe.collate([features[number].inputs for number in numbers])
            output = model(**{name: tensor.to(model.device) for name, tensor in batch.items()})
            both = "start_logits" in output
            logits = (output.start_logits, output.end_logits) if both else (output.logits,)
            arrays = [tensor.float().cpu().numpy() for tensor in logits]
            for row, number in enumerate(numbers):
                found[number] = tuple(array[row] for array in arrays) if both else arrays[0][row]
    return found


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Turn dropout off within the block."""
    model.eval()
    try:
        yield
    finally:
        model.train()


if __name__ == "__main__":
    main(*sys.argv[1:])
