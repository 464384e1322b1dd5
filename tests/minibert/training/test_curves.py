"""The drawing is written whole, and its smoothing is right where a moving average is wrong."""

from pathlib import Path

import pytest

from minibert.training.curves import Line, Panel, draw_curves, smooth


def panels() -> list[Panel]:
    steps = list(range(1, 41))
    loss = [9.0 - 0.1 * step for step in steps]
    return [
        Panel(
            "MLM",
            "loss",
            [Line("training", steps, loss, smoothed=True), Line("held out", [20, 40], [7.1, 5.2], points=True)],
            [("unigram", 6.5)],
        ),
        Panel("Rate", "rate", [Line("AdamW", steps, [1e-4] * 40)]),
        Panel("Throughput", "tokens/s", [Line("training", [1], [12_000.0])], log_scale=True),
    ]


def test_a_png_is_drawn_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "curves.png"
    draw_curves(path, "a run", panels())
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    # Width and height from the header: two columns and two rows of panels, light enough to look at anywhere.
    assert (int.from_bytes(content[16:20]), int.from_bytes(content[20:24])) == (1456, 975)
    assert len(content) < 200_000
    assert list(tmp_path.iterdir()) == [path]


def test_an_earlier_drawing_stays_where_a_new_one_fails(tmp_path: Path) -> None:
    path = tmp_path / "curves.png"
    path.write_bytes(b"the earlier one")
    (tmp_path / ".curves.png.partial").mkdir()
    with pytest.raises(OSError):
        draw_curves(path, "a run", panels())
    assert path.read_bytes() == b"the earlier one"


def test_a_line_of_the_log_has_the_steps_that_have_its_figure() -> None:
    entries = [{"step": 10, "loss": 2.0}, {"step": 20, "dev": 0.5, "loss": None}, {"step": 30, "loss": 1.0}]
    assert Line.logged(entries, "training", "loss", smoothed=True) == Line(
        "training", [10, 30], [2.0, 1.0], smoothed=True
    )
    assert Line.logged(entries, "nothing", "other") == Line("nothing", [], [])


def test_smoothing_keeps_a_straight_line_to_its_ends() -> None:
    line = [10.0 - 0.25 * i for i in range(30)]
    assert smooth(line) == pytest.approx(line)


def test_smoothing_takes_the_noise_out() -> None:
    assert smooth([1.0, -1.0] * 100)[50:150] == pytest.approx([0.0] * 100, abs=0.01)


def test_two_points_are_left_alone() -> None:
    assert smooth([3.0, 1.0]) == [3.0, 1.0]
