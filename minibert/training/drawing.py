"""Pictures as PNG files: without a display, with text drawn literally, and never at the cost of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minibert.files.writing import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# matplotlib's own font, then those that systems have for Chinese, Japanese and Korean.
FONTS = ("DejaVu Sans", "Noto Sans CJK SC", "Source Han Sans SC", "PingFang SC", "Microsoft YaHei", "SimHei",
         "WenQuanYi Micro Hei", "Arial Unicode MS")  # fmt: skip


@contextmanager
def figure_for(path: Path, *, inches: tuple[float, float], layout: Any = "constrained") -> Iterator[Figure]:
    """Give a figure to draw into; at the end of the block it becomes the PNG file `path`, whole or not at all.

    Text is not markup: `$`, `_`, `^` and backslashes are drawn literally. The user's matplotlib settings are ignored,
    since they may ask for LaTeX or for fonts that are missing.

    Raises OSError if the file can't be written.
    """
    # Imported here because it takes longer than many commands that draw nothing. Not pyplot, whose global state needs a
    # display and keeps figures alive.
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"text.parse_math": False, "font.family": installed_fonts()})
        figure = Figure(figsize=inches, layout=layout, facecolor="white")
        FigureCanvasAgg(figure)
        yield figure
        write_whole(path, partial(figure.savefig, format="png", dpi=130))


def draw_or_say(path: Path, draw: Callable[[Path], object], say: Callable[[str], None]) -> bool:
    """Let `draw` make the picture `path`, and return whether it did.

    Any failure, of a library, a font or the disk, becomes a line for the user.
    """
    try:
        draw(path)
        return True
    except Exception as error:  # matplotlib has files and settings of its own: any error is possible
        say(f"{path}: not drawn: {' '.join(str(error).split()) or type(error).__name__}")
        return False


def as_drawn(text: str, *, longest: int) -> str:
    """Put a name on one line, not too long; invisible characters and those in no font become escapes like \\u202e."""
    known = drawable()
    drawn = "".join(" " if one.isspace() else one if ord(one) in known else _escaped(one) for one in text)
    return drawn if len(drawn) <= longest else f"{drawn[: longest - 1]}…"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def installed_fonts() -> list[str]:
    """Return the installed ones of FONTS."""
    from matplotlib.font_manager import get_font_names

    installed = set(get_font_names())
    return [font for font in FONTS if font in installed]


@cache
def drawable() -> frozenset[int]:
    """Return every visible character that one of the installed fonts has."""
    from matplotlib.font_manager import findfont, get_font

    found = (character for font in installed_fonts() for character in get_font(findfont(font)).get_charmap())
    return frozenset(character for character in found if chr(character).isprintable())
