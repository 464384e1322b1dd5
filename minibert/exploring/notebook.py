"""The page in a notebook: `minibert.explore` computes it, and returns an object that notebooks show as a frame.

    minibert.explore(model, tokenizer, "The man went to the [MASK] .", "He bought milk .", name="demo")

Notebooks show what an object's `_repr_html_` returns. The frame has the whole page in its `srcdoc`, so that nothing is
loaded, and its `sandbox` keeps page and notebook apart: it allows only the page's script, and pictures to be saved.
"""

import html
from dataclasses import dataclass
from pathlib import Path

from minibert.errors import plural
from minibert.exploring.page import html_page
from minibert.exploring.record import MAX_TOKENS, Other, make_record
from minibert.files.writing import write_whole_text
from minibert.heads import Model
from minibert.tokenizer import Tokenizer

HEIGHT = 720  # pixels: on most screens, the frame and a line of code above it


@dataclass(frozen=True, repr=False)
class Page:
    """A page that a notebook shows in a frame."""

    html: str  # the whole file
    about: str  # the model, the text and how long it is
    height: int  # of the frame, in pixels

    def _repr_html_(self) -> str:
        return (
            f'<iframe title="{html.escape(self.about)}" sandbox="allow-scripts allow-downloads" '
            f'style="width: 100%; height: {self.height}px; border: 0" srcdoc="{html.escape(self.html)}"></iframe>'
        )

    def __repr__(self) -> str:
        return f'<{self.about}; a notebook shows it, and save("page.html") writes it to a file>'

    def save(self, path: str | Path) -> None:
        """Write the page to a file that any browser opens. Raises OSError if that can't be written."""
        write_whole_text(Path(path), self.html)


def explore(
    model: Model,
    tokenizer: Tokenizer,
    text: str,
    second: str | None = None,
    *,
    name: str = "model",
    other: Other | None = None,
    max_tokens: int = MAX_TOKENS,
    height: int = HEIGHT,
) -> Page:
    """Return the page that shows the forward pass for one text, or a pair of texts as [CLS] A [SEP] B [SEP].

    name: the model's, for the page's header; other: a second model of the same shape, its tokenizer and its name, to
    compare; max_tokens: of the text, as the page grows with its square; height: of the frame, in pixels.

    Raises InputError as `minibert.exploring.record.make_record` does.
    """
    record = make_record(model, tokenizer, text, second, name=name, other=other, max_tokens=max_tokens, progress=True)
    shown = " / ".join(record["texts"])
    return Page(html_page(record), f"{name}: {shown} ({plural(len(record['tokens']), 'token')})", height)
