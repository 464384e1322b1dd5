"""The page as a notebook shows it: one frame, shut off from the notebook, with the whole page in it."""

from __future__ import annotations

import html
import re
from pathlib import Path

import minibert
from minibert.exploring.page import html_page
from minibert.exploring.record import make_record
from minibert.tokenizer import Tokenizer
from tests.minibert.exploring.conftest import A, B, random_model
from tests.minibert.exploring.test_page import HOSTILE


def test_the_frame_has_the_page_and_allows_its_script_and_pictures_alone(tokenizer: Tokenizer) -> None:
    model = random_model("BertForPreTraining")
    frame = minibert.explore(model, tokenizer, A, B, name="x")._repr_html_()
    (found,) = re.findall(r'<iframe title="[^"]*" sandbox="([^"]*)" style="[^"]*" srcdoc="([^"]*)"></iframe>', frame)
    assert found[0] == "allow-scripts allow-downloads"
    assert html.unescape(found[1]) == html_page(make_record(model, tokenizer, A, B, name="x"))


def test_hostile_text_stays_inside_the_attribute(tokenizer: Tokenizer) -> None:
    page = minibert.explore(random_model("Bert"), tokenizer, f'"><script>{HOSTILE}', name='"><b>')
    frame = page._repr_html_()
    assert re.fullmatch(r'<iframe title="[^"<>]*" [^<>]*srcdoc="[^"<>]*"></iframe>', frame)


def test_it_says_what_it_is_and_is_saved(tokenizer: Tokenizer, tmp_path: Path) -> None:
    page = minibert.explore(random_model("Bert"), tokenizer, "the cat", name="x")
    assert repr(page) == '<x: the cat (4 tokens); a notebook shows it, and save("page.html") writes it to a file>'
    page.save(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page.html
