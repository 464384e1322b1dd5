"""Tables of the docs: rows from results, each put in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.options import SuiteOptions
from benchmarks.suite import SUITE
from benchmarks.tables import TABLES, encode_table, prepare_table, pretrain_table, put_tables, quality_table, spread
from tests.helpers import REPOSITORY, refusal

MACHINE = {"processor": "Z80", "amx": False, "cores": 2, "threads": 1, "device": "Z80", "python": "3.11", "torch": "2"}
LINE = "Z80 without AMX, 2 cores; threads 1, python 3.11, torch 2."


def run(side: str, seed: int, **figures: float) -> dict[str, Any]:
    notes = {"losses": [3.0, 2.0 + 0.001 * seed * (side != "ours")], "seconds": [9.0, figures.pop("step", 1.0)]}
    work = {"steps": 2, "tokens": 200, "texts": 6}
    return {"side": side, "seed": seed, "work": work, "metrics": {"spearman": 0.5}, "figures": figures,
            "notes": {**notes, "warm_up": 1}}  # fmt: skip


def test_the_median_from_the_lowest_to_the_highest() -> None:
    assert spread([3.0, 1.0, 2.0], ".0f") == "2 (1 to 3)"
    assert spread([1234.4, 1234.3], ",.0f") == "1,234"


def test_a_row_of_pretraining() -> None:
    shared = {"peak_memory": 2e6, "operations": 6.0, "ceiling": 24.0}
    runs = [run("ours", seed, step=1.0, **shared) for seed in (0, 1)]
    runs += [run("transformers", seed, step=4.0 + seed, **shared) for seed in (0, 1)]
    lines = pretrain_table(
        [(("mini, 8", "30,522", "float32"), {"machine": {**MACHINE, "transformers": "5"}, "runs": runs})]
    )
    assert lines[2:] == [
        "| mini, 8 | 30,522 | float32 | 100 | 22 (20 to 25) | 4.44 | 2 / 2 | 25.0% / 5.6% | 0.001 |", "", LINE,
    ]  # fmt: skip


def test_a_row_of_encoding_and_none_for_what_was_not_measured() -> None:
    figures = {"single_seconds": 0.002, "peak_memory": 3e6, "operations": 1.0, "pass_seconds": 1.0, "ceiling": 2.0}
    runs = [run("ours", 0, texts_per_second=30.0, **figures), run("onnxruntime", 0, texts_per_second=20.0, **figures)]
    lines = encode_table(
        [(("onnxruntime", "float32"), {"machine": MACHINE, "runs": runs}), (("other", "float32"), None)]
    )
    assert lines[2:] == [
        "| onnxruntime | float32 | 30 | 20 | 1.50 | 2.00 / 2.00 | 3 / 3 | 50% / 50% | 0.500000 / 0.500000 |", "", LINE,
    ]  # fmt: skip


def test_each_learning_rate_of_the_loop_has_a_row() -> None:
    metrics = {"mlm_loss": 2.5, "mlm_accuracy": 0.5, "nsp_accuracy": 0.75}
    runs = [{**run(side, seed, seconds=60.0 + seed), "work": {"tokens": 1000}, "metrics": metrics}
            for side, seed in (("ours", 0), ("ours", 2), ("ours", 1), ("loop 0.1", 0), ("loop 0.2", 0))]  # fmt: skip
    assert quality_table([((), {"machine": MACHINE, "runs": runs})])[2:5] == [
        "| ours | 61 (60 to 62) | 1,000 | 2.5000 | 0.5000 | 0.7500 |",
        "| loop 0.1 | 60 | 1,000 | 2.5000 | 0.5000 | 0.7500 |",
        "| loop 0.2 | 60 | 1,000 | 2.5000 | 0.5000 | 0.7500 |",
    ]


def test_nothing_measured_is_no_table() -> None:
    assert [make([(("x",), None)]) for make in TABLES.values()] == [[]] * len(TABLES)


def test_figures_of_two_machines_do_not_share_a_table() -> None:
    figures = {"seconds": 1.0, "tokens_per_second": 1.0, "batched_per_second": 1.0}
    results = [
        (("text",), {"machine": {**MACHINE, "threads": threads}, "runs": [run("prepare", 0, **figures)]})
        for threads in (1, 2)
    ]
    assert "from several machines: Z80 without AMX, 2 cores; threads 1" in refusal(lambda: prepare_table(results))


def test_a_table_is_put_between_its_marks(tmp_path: Path) -> None:
    path = tmp_path / "x.md"
    path.write_text("a\n<!-- table: one -->\nold\n<!-- end -->\nb\n<!-- table: two -->\nkept\n<!-- end -->\n")
    put_tables(path, {"one": ["| new |"]})
    new = "a\n<!-- table: one -->\n\n| new |\n\n<!-- end -->\nb\n<!-- table: two -->\nkept\n<!-- end -->\n"
    assert path.read_text() == new
    put_tables(path, {"one": ["| new |"]})
    assert path.read_text() == new
    assert "expected one <!-- table: three -->" in refusal(lambda: put_tables(path, {"three": []}))
    assert path.read_text() == new


def test_the_docs_have_a_place_for_every_table() -> None:
    text = (REPOSITORY / "docs" / "performance.md").read_text(encoding="utf-8")
    for device in ("cpu", "cuda"):
        options = SuiteOptions(model="", data="", device=device)  # type: ignore[arg-type]
        assert [text.count(f"<!-- table: {section}, {device} -->") for section in options.sections()] == [
            1 for _ in options.sections()
        ]


def test_no_comparison_stands_twice() -> None:
    names = [comparison.name for comparison in SUITE]
    assert len(names) == len(set(names)) == 25


@pytest.mark.parametrize("comparison", SUITE, ids=lambda comparison: comparison.name)
def test_each_comparison_has_options_that_hold(comparison: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    from benchmarks.suite import RUN

    asked = []
    module = importlib.import_module(f"benchmarks.{comparison.benchmark}")
    monkeypatch.setattr(module, "compare", asked.append)
    RUN[comparison.benchmark](comparison.args.format(model="M", data="D", device="cpu").split())
    assert len(asked) == 1


def test_a_benchmark_of_the_processor_is_not_asked_of_a_gpu() -> None:
    assert SuiteOptions(model="", data="", device="cuda").sections() == ("pretrain", "quality", "finetune")
    options = SuiteOptions(model="", data="", device="cuda", only=("encode",))
    assert refusal(options.check) == "--only encode: this benchmark measures the processor; leave out --device cuda"
