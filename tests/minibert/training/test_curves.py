"""The drawing is written whole, and its smoothing is right where a moving average is wrong."""

from functools import partial
from pathlib import Path

import matplotlib
import pytest
from matplotlib.figure import Figure

from minibert.training.curves import Line, Panel, draw_curves, smooth
from minibert.training.drawing import draw_or_say
from tests.helpers import contents, full_disk


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
        Panel("Throughput", "tokens/s", [Line("training", [1], [12_000.0])]),
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
    with pytest.raises(OSError), full_disk():
        draw_curves(path, "a run", panels())
    assert contents(tmp_path) == {"curves.png": b"the earlier one"}


def figures_drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Those that will be written from now on."""
    figures: list[Figure] = []

    def write_whole(path: Path, write: partial[None]) -> None:
        write(path)
        figures.append(write.func.__self__)  # type: ignore[attr-defined]  # the figure's savefig

    monkeypatch.setattr("minibert.training.drawing.write_whole", write_whole)
    return figures


ODD = ["_hidden", "a$_$b", "$x^2$", r"\frac{1}{2}", "two\nlines", "right\u202eleft", "\U0010fffd", "", "long " * 30]
DRAWN = ["_hidden", "a$_$b", "$x^2$", r"\frac{1}{2}", "two lines", r"right\u202eleft", r"\U0010fffd", ""]


@pytest.mark.filterwarnings("error")
def test_names_are_drawn_as_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text is no markup, and every curve is in the legend."""
    figures = figures_drawn(monkeypatch)
    lines = [Line(name, [1, 2], [1e-4, 2e-4]) for name in ODD]
    draw_curves(tmp_path / "curves.png", "Pretraining: a$_$b", [Panel("Rate", "AdamW's", lines, [("_base", 1e-4)])])
    figure = figures[0]
    legend = figure.axes[0].get_legend()
    assert legend is not None and not any(text.get_parse_math() for text in legend.get_texts())
    assert [text.get_text() for text in legend.get_texts()] == [*DRAWN, ("long " * 30)[:39] + "…", "_base"]
    assert figure.get_suptitle() == "Pretraining: a$_$b"
    assert figure.axes[0].get_ylabel() == "AdamW's (in 10⁻⁴)"


def test_the_users_settings_of_matplotlib_have_no_say(tmp_path: Path) -> None:
    with matplotlib.rc_context({"text.usetex": True, "font.family": ["no such font"], "savefig.format": "pdf"}):
        draw_curves(tmp_path / "curves.png", "a run", panels()[1:2])
    assert (tmp_path / "curves.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("error", "reason"), [(RuntimeError("no\nfont"), "no font"), (MemoryError(), "MemoryError"), (None, "")]
)
def test_a_picture_that_fails_is_a_line_for_the_user(tmp_path: Path, error: Exception | None, reason: str) -> None:
    said: list[str] = []

    def draw(path: Path) -> None:
        if error:
            raise error

    assert draw_or_say(tmp_path / "curves.png", draw, said.append) is (error is None)
    assert said == ([f"{tmp_path / 'curves.png'}: not drawn: {reason}"] if error else [])


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


def test_marks_are_lines_through_every_panel_and_named_in_one_without_a_legend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = figures_drawn(monkeypatch)
    draw_curves(tmp_path / "curves.png", "a run", panels(), [(10, "1M"), (11, "50%"), (20, "2M, 9$x$")])
    drawn = figures[0].axes
    for axes in drawn:
        found = [line.get_xdata()[0] for line in axes.get_lines() if line.get_linestyle() == ":"]  # type: ignore[index]
        assert found == [10, 11, 20]
    assert [[text.get_text() for text in axes.texts] for axes in drawn] == [[], ["1M", "2M, 9$x$"], []]
