"""The confusion matrix is drawn whole and readable at any size; tables stand in columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from finetune.scoring.confusion import confusion, draw_confusion, figures_table
from finetune.scoring.metrics import ClassFigures
from tests.helpers import contents, full_disk


def drawn(classes: int) -> tuple[list[int], list[int]]:
    rng = np.random.default_rng(1)
    targets = rng.integers(classes, size=200 * classes)
    predictions = np.where(rng.random(len(targets)) < 0.7, targets, rng.integers(classes, size=len(targets)))
    return targets.tolist(), predictions.tolist()


def test_rows_are_true_and_columns_predicted() -> None:
    assert confusion([0, 0, 0, 1], [0, 1, 1, 1], 3).tolist() == [[1, 2, 0], [0, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("classes", "smallest", "largest"), [(2, 250, 800), pytest.param(50, 1800, 3200, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    "name", ["{}", "a class whose name is very long indeed, number {}", "类别 {}", "$5_{}", "_{}$", "a\n\u202e{}"]
)
@pytest.mark.filterwarnings("error")
def test_pictures_grow_with_the_classes(tmp_path: Path, classes: int, smallest: int, largest: int, name: str) -> None:
    path = tmp_path / "confusion.png"
    draw_confusion(path, *drawn(classes), [name.format(number) for number in range(classes)])
    height, width, _ = imread(path).shape
    assert smallest < height < largest and smallest < width < largest
    assert path.stat().st_size < 1_000_000
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_very_many_classes_make_no_giant(tmp_path: Path) -> None:
    draw_confusion(tmp_path / "confusion.png", [0, 700], [0, 3], [f"class {number}" for number in range(1000)])
    assert max(imread(tmp_path / "confusion.png").shape) < 3700


def test_an_earlier_picture_stays_where_a_new_one_fails(tmp_path: Path) -> None:
    path = tmp_path / "confusion.png"
    path.write_bytes(b"the earlier one")
    with pytest.raises(OSError), full_disk():
        draw_confusion(path, *drawn(12), list("abcdefghijkl"))
    assert contents(tmp_path) == {"confusion.png": b"the earlier one"}


def test_a_table_stands_in_columns() -> None:
    figures = [ClassFigures("person", 0.5, 1.0, 2 / 3, 1234), ClassFigures("creative-work", 0.0, 0.0, 0.0, 0)]
    assert figures_table(figures).splitlines() == [
        "class          precision  recall      f1  support",
        "person            0.5000  1.0000  0.6667    1,234",
        "creative-work     0.0000  0.0000  0.0000        0",
    ]
    assert figures_table([ClassFigures("", 1.0, 1.0, 1.0, 3)]).splitlines()[1].split() == [
        "-",
        "1.0000",
        "1.0000",
        "1.0000",
        "3",
    ]
    assert figures_table([]) == "class  precision  recall      f1  support"
