"""The page in a browser: Debian's chromium without a screen, driven by selenium."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from selenium import webdriver
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

import minibert
from minibert.config import PRESETS
from minibert.exploring.page import html_page
from minibert.exploring.record import make_record
from minibert.heads import BertForPreTraining
from minibert.model import Bert
from minibert.tokenizer import Tokenizer
from tests.helpers import REPOSITORY, TINY, seeded
from tests.minibert.exploring.conftest import SHAPE, A, B, random_model
from tests.minibert.exploring.test_page import HOSTILE
from tests.weights_convert.reference_models import real_directory
from weights_convert.convert import from_hf

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="no browser: apt-get install chromium chromium-driver",
)
ALWAYS = ["attention", "neuron", "way", "what-if"]
NEED_A_HEAD = ["predictions", "layers", "saliency", "contributions"]


class Browser:
    """What a reader does with a page, and what can be seen then."""

    def __init__(self) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = str(CHROMIUM)
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1200,900"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))

    def open(self, page: Path, *, width: int = 1200, dark: bool = False) -> None:
        """Waits until every panel is drawn."""
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
        self.driver.get("about:blank")
        for kind in ("browser", "performance"):
            self.driver.get_log(kind)
        start = time.perf_counter()
        self.driver.get(page.as_uri())
        while self.run("return document.documentElement.dataset.ready") != "true":
            assert time.perf_counter() - start < 30, self.driver.get_log("browser")
            time.sleep(0.01)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        return str(self.run("return document.querySelector(arguments[0]).textContent", selector))

    def texts(self, selector: str) -> list[str]:
        return list(self.run("return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)", selector))

    def picture(self, selector: str) -> str:
        return str(self.run("return document.querySelector(arguments[0]).toDataURL()", selector))

    def choose(self, selector: str, value: str) -> None:
        self.run(
            "const e = document.querySelector(arguments[0]); e.value = arguments[1];"
            "e.dispatchEvent(new Event('change'));",
            selector, value,
        )  # fmt: skip

    def pointer_at(self, selector: str, x: float, y: float) -> ActionChains:
        """x, y: pixels from the element's left upper corner."""
        element = self.find(selector)
        self.run("arguments[0].scrollIntoView({block: 'center'})", element)
        width, height = self.run("const b = arguments[0].getBoundingClientRect(); return [b.width, b.height]", element)
        return ActionChains(self.driver).move_to_element_with_offset(
            element, round(x - width / 2), round(y - height / 2)
        )

    def tap(self, selector: str, x: float, y: float) -> None:
        """With a finger; x, y: as in `pointer_at`."""
        box = "const e = document.querySelector(arguments[0]); e.scrollIntoView({block: 'center'});"
        left, top = self.run(f"{box} const b = e.getBoundingClientRect(); return [b.left, b.top]", selector)
        for kind, fingers in (("touchStart", [{"x": left + x, "y": top + y}]), ("touchEnd", [])):
            self.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})

    def wait(self, condition: str) -> None:
        """Until a condition of the page holds."""
        deadline = time.perf_counter() + 5
        while not self.run(f"return {condition}"):
            assert time.perf_counter() < deadline, condition
            time.sleep(0.01)

    def cell(self, selector: str, row: int, column: int) -> tuple[float, float]:
        """The middle of a heat map's cell."""
        data = self.run("return {...document.querySelector(arguments[0]).dataset}", selector)
        left, top, width, height = (float(data[name]) for name in ("left", "top", "cellWidth", "cellHeight"))
        return left + (column + 0.5) * width, top + (row + 0.5) * height

    def hover_cell(self, selector: str, row: int, column: int) -> str:
        """What the note at the pointer says."""
        self.pointer_at(selector, *self.cell(selector, row, column)).perform()
        return self.text("#tip")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    started = Browser()
    yield started
    started.driver.quit()


@pytest.fixture
def opened(browser: Browser, record: dict[str, Any], tmp_path: Path) -> Browser:
    """The page of a pair on a random pretraining model."""
    (tmp_path / "page.html").write_text(html_page(record), encoding="utf-8")
    browser.open(tmp_path / "page.html")
    return browser


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Callable[..., Browser]:
    """Makes a page and opens it; as `make_record`."""

    def make(*args: Any, width: int = 1200, dark: bool = False, **options: Any) -> Browser:
        (tmp_path / "page.html").write_text(html_page(make_record(*args, name="x", **options)), encoding="utf-8")
        browser.open(tmp_path / "page.html", width=width, dark=dark)
        return browser

    return make


def visible_panels(browser: Browser) -> list[str]:
    script = "return [...document.querySelectorAll('main > section')].map((s) => [s.id, s.offsetHeight])"
    return [name for name, height in browser.run(script) if height > 100]


def kept_by_filters(browser: Browser) -> list[list[int]]:
    """The pairs of tokens, [from, to], whose attention is shown."""
    script = "return record.tokens.map((_, from) => record.tokens.map((_, to) => passes(from, to)))"
    return np.argwhere(browser.run(script)).tolist()


def written_by(browser: Browser, draw: str) -> list[str]:
    """The words that a drawing writes onto its canvas, in their order."""
    return list(
        browser.run(
            "const plain = CanvasRenderingContext2D.prototype.fillText; const words = [];"
            "CanvasRenderingContext2D.prototype.fillText = function (word, ...place) {"
            "  words.push(word); plain.call(this, word, ...place); };"
            f"try {{ {draw} }} finally {{ CanvasRenderingContext2D.prototype.fillText = plain; }} return words;"
        )
    )


def test_contributions_are_sorted_by_size_and_choose_a_head(opened: Browser, record: dict[str, Any]) -> None:
    opened.run("choose({question: 2})")
    values = record["contributions"]["values"][2]
    by_size = sorted(values, key=abs, reverse=True)
    shown = [float(text.replace("−", "-")) for text in opened.texts("#contributions-table .number")]
    assert shown == pytest.approx([*by_size, record["contributions"]["remainders"][2]], rel=6e-3)
    rows = opened.texts("#contributions-table tbody td:first-child")
    head = values[record["contributions"]["names"].index("blocks.1.attention.head.2")]
    assert rows[by_size.index(head)] == "block 1, head 2"
    assert rows[-1] == "remainder: the output head is not linear"
    opened.find(f"#contributions-table tbody tr:nth-child({by_size.index(head) + 1}) button").click()
    assert opened.run("return [choice.layer, choice.head]") == [1, 2]


# --- Panels ----------------------------------------------------------------------------------------------------------


def test_every_panel_appears_and_is_in_the_contents(show: Callable[..., Browser], tokenizer: Tokenizer) -> None:
    model = random_model("BertForPreTraining")
    browser = show(model, tokenizer, A, B, other=(model, tokenizer, "y"))
    panels = [
        "attention", "neuron", "way", "predictions", "layers", "what-if", "saliency", "contributions", "compare"
    ]  # fmt: skip
    assert visible_panels(browser) == panels
    links = browser.run("return [...document.querySelectorAll('#contents a')].map((a) => a.hash.slice(1))")
    assert links == panels
    assert browser.text("#left-out") == ""


def test_without_a_second_model_there_is_no_comparison(opened: Browser) -> None:
    assert "compare" not in visible_panels(opened)


def test_real_weights_of_an_encoder_have_the_panels_that_need_no_head(browser: Browser, tmp_path: Path) -> None:
    from_hf(real_directory(), tmp_path / "minilm")
    model, tokenizer = minibert.load(tmp_path / "minilm")
    record = make_record(model, tokenizer, "The old man the boats.", name="minilm")
    (tmp_path / "page.html").write_text(html_page(record), encoding="utf-8")
    browser.open(tmp_path / "page.html")
    assert visible_panels(browser) == ALWAYS
    assert browser.text("#left-out").startswith("The predictions, how they form and what they depend on are left")
    assert len(browser.texts("#gallery button")) == 6 * 12
    exact = minibert.trace(model, tokenizer("The old man the boats."))["blocks.4.attention.probabilities"][0, 7, 2, 3]
    browser.run("choose({layer: 4, head: 7})")
    assert browser.hover_cell("#matrix canvas", 2, 3) == f"2 old → 3 man: {exact:.4f}"
    assert browser.driver.get_log("browser") == []


@pytest.mark.slow
def test_a_model_trained_as_in_the_demo_has_every_panel_with_its_own_values(browser: Browser, tmp_path: Path) -> None:
    """The demo's command and model, on the project's own pages in place of pydocs, and for 40 steps."""
    pages = [path.read_text(encoding="utf-8") for path in sorted((REPOSITORY / "docs").glob("*.md"))]
    (tmp_path / "corpus.txt").write_text("\n\n".join(pages), encoding="utf-8")
    command = [sys.executable, "-m", "pretrain", "--corpus", str(tmp_path / "corpus.txt"), "--recipe", "fast"]
    command += ["--model", "pretrain/recipes/demo-model.json", "--vocab-size", "2000", "--steps", "40"]
    subprocess.run([*command, "--out", str(tmp_path / "demo")], check=True, cwd=REPOSITORY, capture_output=True)
    model, tokenizer = minibert.load(tmp_path / "demo")
    texts = ("Return the [MASK] of the array along the given axis.", "The default value is [MASK].")
    record = make_record(model, tokenizer, *texts, name="demo")
    (tmp_path / "page.html").write_text(html_page(record), encoding="utf-8")
    browser.open(tmp_path / "page.html")
    assert sorted(visible_panels(browser)) == sorted([*ALWAYS, *NEED_A_HEAD])
    exact = minibert.trace(model, tokenizer(*texts))["blocks.1.attention.probabilities"][0, 2, 3, 1]
    browser.run("choose({layer: 1, head: 2})")
    assert browser.hover_cell("#matrix canvas", 3, 1).endswith(f": {exact:.4f}")
    for place, prediction in enumerate(record["predictions"]):
        browser.run("choose({question: arguments[0]})", place)
        shown = [browser.text(f"#layers-table tbody tr:nth-child({row}) > :nth-child(2)") for row in (1, 2, 3)]
        assert shown == [f"{100 * layer['value']:.2f} %" for layer in prediction["layers"]]
    assert len(record["predictions"]) == 3  # two [MASK], and whether B follows A
    assert browser.driver.get_log("browser") == []


def test_nothing_leaves_the_page_and_nothing_is_complained_of(opened: Browser) -> None:
    opened.run("drawAll()")
    events = [json.loads(entry["message"])["message"] for entry in opened.driver.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert len(asked) == 1 and asked[0].startswith("file://") and asked[0].endswith("page.html")
    assert opened.driver.get_log("browser") == []


# --- Values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("layer", "head", "row", "column"), [(0, 0, 0, 0), (1, 2, 3, 9), (0, 1, 11, 4)])
def test_hovering_says_the_traced_attention(
    layer: int, head: int, row: int, column: int, opened: Browser, tokenizer: Tokenizer
) -> None:
    traced = minibert.trace(random_model("BertForPreTraining"), tokenizer(A, B))
    exact = traced[f"blocks.{layer}.attention.probabilities"][0, head, row, column]
    opened.run("choose({layer: arguments[0], head: arguments[1]})", layer, head)
    pieces = tokenizer.tokens(tokenizer(A, B).input_ids[0].tolist())
    expected = f"{row} {pieces[row]} → {column} {pieces[column]}: {exact:.4f}"
    assert opened.hover_cell("#matrix canvas", row, column) == expected


def test_hovering_over_a_strip_says_a_value_and_how_exact_it_is(opened: Browser, record: dict[str, Any]) -> None:
    opened.run("choose({layer: 1, token: 4})")
    opened.pointer_at('.strip[aria-label^="blocks.1.attention.value"]', 60, 8).perform()
    found = re.fullmatch(r"blocks\.1\.attention\.value, dimension (\d+): (-?[\d.]+) ± ([\d.]+)", opened.text("#tip"))
    assert found is not None
    exact = record["blocks"]["values"]["attention.value"][1, 4, int(found[1])]
    assert float(found[2]) == pytest.approx(exact, abs=1.5 * float(found[3]))
    assert float(found[3]) < 0.1


def test_the_neuron_view_shows_scores_and_their_softmax(opened: Browser, record: dict[str, Any]) -> None:
    opened.run("choose({layer: 1, head: 2, token: 5})")
    shown = opened.texts("#neuron-rows td.number")
    scores, shares = shown[1::3], shown[2::3]
    query, key = (
        record["blocks"]["values"][f"attention.{name}"][1].reshape(12, 3, 8)[:, 2] for name in ("query", "key")
    )
    expected = key @ query[5] / np.sqrt(8)
    assert [float(score.replace("−", "-")) for score in scores] == pytest.approx(expected, abs=0.02)
    assert shares == [f"{share:.4f}" for share in record["attention"]["probabilities"][1, 2, 5]]


def test_the_numbers_of_query_and_key_are_the_traced_ones_within_what_is_said(
    opened: Browser, record: dict[str, Any]
) -> None:
    opened.run("choose({layer: 0, head: 1, token: 2, key: 6})")
    shown = np.array([float(text) for text in opened.texts("#neuron-numbers td")]).reshape(8, 4)
    query, key = (
        record["blocks"]["values"][f"attention.{name}"][0, at, 8:16].astype(np.float64)
        for name, at in (("query", 2), ("key", 6))
    )
    heads = [text.split(" ± ") for text in opened.texts("#neuron-numbers th")[1:]]
    assert [name for name, _ in heads] == ["query", "key", "query × key"]
    for column, (exact, (_, error)) in enumerate(zip((query, key, query * key), heads, strict=True), start=1):
        assert shown[:, column] == pytest.approx(exact, abs=1.5 * float(error))  # and its last digit is rounded
        assert float(error) < 0.01
        largest = np.abs(shown[:, column] - exact).max()
        assert float(error) >= largest - 0.5 * 10.0 ** -len(error.partition(".")[2])


def test_an_error_is_rounded_up(opened: Browser) -> None:
    assert opened.run("return [0.0011, 0.0099, 0.25, 3].map(atMost)") == ["0.002", "0.01", "0.3", "3"]


def test_strips_of_one_column_of_the_neuron_view_share_a_scale(opened: Browser, record: dict[str, Any]) -> None:
    opened.run("choose({layer: 1, head: 2, token: 5})")
    query, keys = (
        record["blocks"]["values"][f"attention.{name}"][1].reshape(12, 3, 8)[:, 2] for name in ("query", "key")
    )
    for column, values in ((3, keys), (4, keys * query[5])):
        drawn, expected = opened.run(
            "const cells = `#neuron-rows tr + tr > :nth-child(${arguments[0]}) canvas`;"
            "const canvases = [...document.querySelectorAll(cells)];"
            "const rgb = (canvas, at) => [...canvas.getContext('2d').getImageData(at, 0, 1, 1).data.slice(0, 3)];"
            "return [canvases.map((canvas) => arguments[1][0].map((_, at) => rgb(canvas, at))),"
            "  arguments[1].map((row) => row.map((value) => signColour(value / arguments[2])))];",
            column, values.tolist(), 3 * float(np.sqrt((values**2).mean())),
        )  # fmt: skip
        assert np.abs(np.array(drawn) - np.array(expected)).max() <= 3  # of 255; the page's vectors are rounded


def test_predictions_through_the_layers_are_pythons(opened: Browser, record: dict[str, Any]) -> None:
    for place in range(3):
        opened.run("choose({question: arguments[0]})", place)
        prediction = record["predictions"][place]
        for row, layer in enumerate(prediction["layers"], start=1):
            cells = opened.texts(f"#layers-table tbody tr:nth-child({row}) > *")
            where = "embeddings" if row == 1 else f"block {row - 2}"
            answers = [f"{answer['answer']} {100 * answer['value']:.2f} %" for answer in layer["answers"]]
            assert cells == [where, f"{100 * layer['value']:.2f} %", str(layer["rank"]), *answers]


def test_the_answers_are_pythons(opened: Browser, record: dict[str, Any]) -> None:
    opened.run("choose({question: 1})")
    answers = record["predictions"][1]["answers"]
    assert opened.texts("#prediction-answers td:first-child") == [answer["answer"] for answer in answers]
    shown = opened.texts("#prediction-answers td.number")
    assert shown == [f"{100 * answer['value']:.2f} %" for answer in answers]


def test_a_head_switched_off_shows_the_answers_without_it(opened: Browser, record: dict[str, Any]) -> None:
    opened.pointer_at("#what-if-grid canvas", *opened.cell("#what-if-grid canvas", 1, 2)).click().perform()
    assert opened.text("#what-if-title") == "Block 1 without head 2"
    assert opened.texts("#what-if-without td:first-child") == [
        answer["answer"] for answer in record["what_if"]["answers"][0][1][2]
    ]
    change = 100 * (record["what_if"]["values"][0, 1, 2] - record["predictions"][0]["answers"][0]["value"])
    said = opened.hover_cell("#what-if-grid canvas", 1, 2).replace("−", "-")
    assert said.startswith("block 1 without head 2: ")
    assert float(said.split()[-2]) == pytest.approx(change, abs=0.006)
    points = said.removeprefix("block 1 without head 2: ").removesuffix(" points")
    assert points in [word.replace("−", "-") for word in written_by(opened, "drawWhatIf()")]


def test_of_every_head_the_figure_is_written_and_said_alike(opened: Browser, record: dict[str, Any]) -> None:
    for measure in ("entropy", "a_to_b"):
        opened.choose("#figure-measure", measure)
        exact = record["attention"]["figures"][measure][1, 2]
        shown = f"{exact:.2f} bits" if measure == "entropy" else f"{100 * exact:.2f} %"
        assert shown.split()[0] in written_by(opened, "drawFigures()")
        assert opened.hover_cell("#figures canvas", 1, 2) == f"block 1, head 2: {shown}"
    about = "the attention that tokens of text A pay to tokens of text B, in %; [CLS] and [SEP] belong to neither"
    assert opened.text("#figure-about") == about


def test_saliency_is_written_under_each_token(opened: Browser, record: dict[str, Any]) -> None:
    opened.run("choose({question: 2})")
    shown = [float(text.replace("−", "-")) for text in opened.texts("#saliency-tokens .number")]
    assert shown == pytest.approx(record["saliency"][2], rel=6e-3)


# --- Names of rows and columns ---------------------------------------------------------------------------------------


def test_every_token_is_named_along_a_small_matrix(opened: Browser, record: dict[str, Any]) -> None:
    pieces = [token["piece"] for token in record["tokens"]]
    names = [word for word in written_by(opened, "drawHead()") if not re.fullmatch(r"\d\.\d\d", word)]
    assert names == [*pieces, *pieces]


def test_along_a_large_matrix_as_many_tokens_are_named_as_fit_and_the_chosen_one(
    show: Callable[..., Browser], tokenizer: Tokenizer
) -> None:
    model = Bert(TINY.replace(vocab_size=80, max_position_embeddings=128), generator=seeded(1)).eval()
    browser = show(model, tokenizer, " ".join(["the cat sat on"] * 10 + ["dog"] + ["the cat sat on"] * 20))
    assert len(browser.run("return record.tokens")) == 123
    size = float(browser.run("return document.querySelector('#matrix canvas').dataset.cellHeight"))
    assert 2 <= size < 10  # too little for a name each
    names = written_by(browser, "choose({token: 41, key: 60})")
    (rows, columns) = (browser.run("return labelled(123, arguments[0], arguments[1])", size, at) for at in (41, 60))
    for named, first in ((rows, 41), (columns, 60)):
        assert first in named
        apart = np.diff(named) * size
        assert (apart >= 12).all() and (apart < 24 + size).all()
    pieces = browser.run("return pieces()")
    matrix = [pieces[at] for at in [*rows, *columns]]
    assert any(names[start : start + len(matrix)] == matrix for start in range(len(names)))
    assert "dog" in matrix


def test_a_page_of_more_tokens_than_its_width_has_pixels_for_scrolls_the_matrix_alone(
    show: Callable[..., Browser], tokenizer: Tokenizer
) -> None:
    model = Bert(TINY.replace(vocab_size=80, max_position_embeddings=256), generator=seeded(1)).eval()
    browser = show(model, tokenizer, "the cat " * 120, max_tokens=256, width=400)
    wide, inner = browser.run("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= inner == 400
    assert browser.run("const e = document.getElementById('matrix'); return e.scrollWidth > e.clientWidth")


# --- What a reader does ----------------------------------------------------------------------------------------------


def test_choosing_a_head_changes_the_picture(opened: Browser) -> None:
    before = [opened.picture(f"{place} canvas") for place in ("#matrix", "#lines")]
    assert opened.text("#head-title") == "Block 1, head 1"
    opened.find('#gallery [data-layer="1"][data-head="2"]').click()
    assert opened.text("#head-title") == "Block 1, head 2"
    after = [opened.picture(f"{place} canvas") for place in ("#matrix", "#lines")]
    assert before[0] != after[0] and before[1] != after[1]
    assert opened.run("return [...document.querySelectorAll('#gallery [aria-pressed=true]')].length") == 1
    assert opened.run("return document.getElementById('choose-head').value") == "2"


def test_arrow_keys_move_among_heads(opened: Browser) -> None:
    opened.run("choose({layer: 0, head: 0}); document.querySelector('#gallery [tabindex=\"0\"]').focus()")
    ActionChains(opened.driver).send_keys(Keys.ARROW_RIGHT, Keys.ARROW_DOWN).perform()
    assert opened.text("#head-title") == "Block 1, head 1"
    assert opened.run("return {...document.activeElement.dataset}") == {"layer": "1", "head": "1"}
    ActionChains(opened.driver).send_keys(Keys.ARROW_DOWN, Keys.ARROW_LEFT).perform()  # there is no third block
    assert opened.text("#head-title") == "Block 1, head 0"


def test_arrow_keys_move_among_cells_and_enter_chooses(opened: Browser, record: dict[str, Any]) -> None:
    opened.run("choose({layer: 0, head: 0, token: 1, key: 0})")
    opened.find("#matrix canvas").send_keys(Keys.ARROW_DOWN, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    exact = record["attention"]["probabilities"][0, 0, 2, 2]
    assert opened.text("#tip") == f"2 cat → 2 cat: {exact:.4f}"
    ActionChains(opened.driver).send_keys(Keys.ENTER).perform()
    assert opened.run("return [choice.token, choice.key]") == [2, 2]


def test_the_cell_that_arrow_keys_have_reached_is_framed_and_in_view(
    show: Callable[..., Browser], tokenizer: Tokenizer
) -> None:
    browser = show(random_model("Bert"), tokenizer, "the cat sat on " * 12)
    browser.run("choose({layer: 0, token: 1})")
    browser.find("#stream canvas").send_keys(Keys.ARROW_DOWN * 40, Keys.ARROW_RIGHT)
    box = "(e) => { const b = e.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]; }"
    cell, inside, tip = browser.run(
        "return ['#stream .cursor', '#stream', '#tip'].map((id) => document.querySelector(id)).map(" + box + ")"
    )
    x, y = browser.cell("#stream canvas", 41, 1)
    left, top = browser.run("return (" + box + ")(document.querySelector('#stream canvas')).slice(0, 2)")
    assert [(cell[0] + cell[2]) / 2, (cell[1] + cell[3]) / 2] == pytest.approx([left + x, top + y], abs=1)
    for outer in (inside, [0, 0, 1200, 900]):
        assert outer[0] <= cell[0] < cell[2] <= outer[2]
        assert outer[1] <= cell[1] < cell[3] <= outer[3]
    assert 0 <= tip[1] < tip[3] <= 900
    browser.run("document.activeElement.blur()")
    assert not browser.find("#stream .cursor").is_displayed()


def test_a_tap_says_the_value(opened: Browser, record: dict[str, Any]) -> None:
    opened.run("choose({layer: 0, head: 0})")
    opened.tap("#matrix canvas", *opened.cell("#matrix canvas", 2, 4))
    exact = record["attention"]["probabilities"][0, 0, 2, 4]
    opened.wait(f"document.getElementById('tip').textContent === '2 cat → 4 on: {exact:.4f}'")
    assert opened.find("#tip").is_displayed()
    assert opened.run("return choice.token") == 2
    opened.tap("#way-strips .strip", 10, 8)
    opened.wait("document.getElementById('tip').textContent.startsWith('embeddings.token, dimension 0: ')")
    assert opened.find("#tip").is_displayed()


def test_arrow_keys_move_within_a_strip_and_among_strips(opened: Browser, record: dict[str, Any]) -> None:
    opened.run("choose({layer: 1, token: 4}); document.querySelector('#way-strips .strip[tabindex=\"0\"]').focus()")
    values = record["embeddings"]["values"]
    ActionChains(opened.driver).send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_DOWN).perform()
    found = re.fullmatch(r"embeddings\.position, dimension 2: (-?[\d.]+) ± ([\d.]+)", opened.text("#tip"))
    assert found is not None
    assert float(found[1]) == pytest.approx(values["position"][4, 2], abs=1.5 * float(found[2]))
    ActionChains(opened.driver).send_keys(Keys.ARROW_UP, Keys.ARROW_UP, *4 * [Keys.ARROW_LEFT]).perform()
    assert opened.text("#tip").startswith("embeddings.token, dimension 0: ")
    assert opened.run("return document.querySelectorAll('#way-strips .strip[tabindex=\"0\"]').length") == 1
    opened.run("document.activeElement.blur()")
    assert opened.run("return document.getElementById('tip').hidden")


@pytest.mark.parametrize(
    ("place", "chosen", "last"),
    [("#token-table", "token", 11), ("#neuron-rows", "key", 11), ("#prediction-list", "question", 2)],
)
def test_arrow_keys_move_within_a_column_of_which_tab_reaches_one(
    place: str, chosen: str, last: int, opened: Browser
) -> None:
    reached = f"return document.querySelectorAll('{place} button[tabindex=\"0\"]').length"
    assert opened.run(reached) == 1
    opened.run("choose({token: 1, key: 1, question: 1})")
    opened.run("document.querySelector(`${arguments[0]} button[tabindex='0']`).focus()", place)
    ActionChains(opened.driver).send_keys(Keys.ARROW_DOWN).perform()
    assert opened.run(f"return choice.{chosen}") == 2
    ActionChains(opened.driver).send_keys(Keys.ARROW_UP * 2).perform()
    assert opened.run(f"return choice.{chosen}") == 0
    ActionChains(opened.driver).send_keys(Keys.ARROW_UP + Keys.ARROW_DOWN * (last + 1)).perform()
    assert opened.run(f"return choice.{chosen}") == last
    assert opened.run(reached) == 1
    assert opened.run("return document.activeElement.getAttribute('aria-pressed')") == "true"


@pytest.mark.parametrize(
    "selector",
    [
        "#token-table tr:nth-child(3) button",
        '#lines [data-side="looks"][data-at="6"]',
        "#neuron-rows tr:nth-child(4) button",
        "#prediction-list tr:nth-child(2) button",
        "#stream canvas",
        "#what-if-grid canvas",
    ],
)
def test_what_was_chosen_by_enter_keeps_the_focus(selector: str, opened: Browser) -> None:
    focused = "const e = document.activeElement; return [e.ariaLabel, e.closest('[id]').id, e.textContent.slice(0, 5)]"
    opened.run("choose({layer: 0, token: 1, key: 1}); document.querySelector(arguments[0]).focus()", selector)
    before = opened.run(focused)
    opened.run("window.drawn = 0; panel(['layer', 'token', 'key', 'question', 'off'], () => drawn++)")
    ActionChains(opened.driver).send_keys(Keys.ARROW_RIGHT * selector.endswith("canvas") + Keys.ENTER).perform()
    assert opened.run("return drawn") == 1
    assert opened.run(focused) == before


def test_tab_reaches_one_head_and_one_token_of_the_lines(opened: Browser) -> None:
    for place in ("#gallery", "#lines"):
        reached = opened.run(f"return document.querySelectorAll('{place} button[tabindex=\"0\"]').length")
        assert reached == (1 if place == "#gallery" else 2)


def test_pointing_at_a_token_of_the_lines_shows_its_numbers(opened: Browser, record: dict[str, Any]) -> None:
    opened.pointer_at('#lines [data-side="looks"][data-at="3"]', 20, 10).perform()
    assert opened.texts("#lines small") == [f"{share:.4f}" for share in record["attention"]["probabilities"][1, 1, 3]]


def test_filters_leave_what_they_name(opened: Browser) -> None:
    opened.choose("#filter-layer", "1")
    assert len(opened.texts("#gallery button")) == 3
    assert opened.texts("#gallery span") == ["head", "0", "1", "2", "block 1"]
    opened.choose("#filter-head", "2")
    assert opened.run(
        "return [...document.querySelectorAll('#gallery button')].map((b) => b.ariaLabel.slice(0, 15))"
    ) == ["block 1, head 2"]
    assert opened.texts("#gallery span") == ["head", "2", "block 1"]
    full = opened.picture("#matrix canvas")
    opened.choose("#filter-pairs", "01")
    assert kept_by_filters(opened) == [[from_, to] for from_ in range(8) for to in range(8, 12)]
    assert opened.picture("#matrix canvas") != full
    opened.choose("#filter-pairs", "from")
    opened.choose("#choose-from", "5")
    assert kept_by_filters(opened) == [[5, to] for to in range(12)]
    opened.choose("#filter-pairs", "to")
    opened.choose("#choose-to", "9")
    assert kept_by_filters(opened) == [[from_, 9] for from_ in range(12)]


def test_filters_hold_for_both_models(show: Callable[..., Browser], tokenizer: Tokenizer) -> None:
    model = random_model("Bert")
    browser = show(model, tokenizer, A, B, other=(model, tokenizer, "y"))
    places = [f"{place} canvas" for place in ("#matrix", "#compare-first", "#compare-second")]
    full = [browser.picture(place) for place in places]
    browser.choose("#filter-pairs", "from")
    assert not set(full) & {browser.picture(place) for place in places}


# --- Which head looks from one token to another ----------------------------------------------------------------------


def pair_rows(browser: Browser) -> list[list[str]]:
    """Of every head its name and its attention, as they stand on the page."""
    rows = "[...document.querySelectorAll('#pair tbody tr')]"
    return list(browser.run(f"return {rows}.map((row) => [...row.cells].slice(0, 2).map((cell) => cell.textContent))"))


def test_from_and_to_show_their_attention_in_every_head(opened: Browser, record: dict[str, Any]) -> None:
    opened.choose("#choose-from", "6")
    opened.choose("#choose-to", "2")
    assert opened.text("#pair-title") == "Which head looks from “mat” to “cat”?"
    exact = record["attention"]["probabilities"][:, :, 6, 2]
    by_value = sorted(np.ndindex(2, 3), key=lambda head: -exact[head])
    assert pair_rows(opened) == [[f"{layer}.{head}", f"{exact[layer, head]:.4f}"] for layer, head in by_value]
    opened.find("#pair th:first-child button").click()
    assert [name for name, _ in pair_rows(opened)] == ["0.0", "0.1", "0.2", "1.0", "1.1", "1.2"]
    opened.find("#pair th:nth-child(2) button").click()
    assert [name for name, _ in pair_rows(opened)] == [f"{layer}.{head}" for layer, head in by_value]
    assert opened.run("return [...document.querySelectorAll('#pair th')].map((head) => head.ariaSort)") == [
        "none", "descending", None,
    ]  # fmt: skip


def test_from_is_the_token_of_the_whole_page(opened: Browser) -> None:
    opened.choose("#choose-from", "6")
    assert opened.run("return document.getElementById('choose-token').value") == "6"
    assert opened.text("#neuron-title") == "Block 1, head 1: the query of “mat” at 6 and the key of every token, D = 8"
    opened.choose("#choose-token", "4")
    assert opened.run("return document.getElementById('choose-from').value") == "4"


def test_a_row_opens_its_head_with_the_mouse_and_with_arrow_keys(opened: Browser) -> None:
    opened.run("choose({order: 'head'})")
    opened.find("#pair tbody tr:nth-child(3) td:nth-child(2)").click()
    assert opened.text("#head-title") == "Block 0, head 2"
    opened.find('#pair [aria-pressed="true"]').send_keys(Keys.ARROW_DOWN)
    assert opened.text("#head-title") == "Block 1, head 0"
    assert opened.run("return document.activeElement.ariaLabel") == "block 1, head 0"


# --- Where the page opens, and the address ---------------------------------------------------------------------------

CHOSEN = "return [choice.layer, choice.head, choice.token, choice.key, panelInView()]"


def test_the_page_opens_with_the_attention_that_says_most(opened: Browser, record: dict[str, Any]) -> None:
    assert opened.run(CHOSEN) == [1, 1, 3, 1, "attention"]
    assert opened.text("#opening") == record["opening"]["why"]
    assert opened.run("return [choice.off, choice.question]") == [[1, 1], 0]


def test_the_address_brings_the_choice_again(opened: Browser) -> None:
    opened.run("choose({layer: 0, head: 2, token: 6, key: 2, figure: 'cls', off: [0, 3]})")
    opened.find('#contents [href="#what-if"]').click()
    address = "#what-if&block=0&head=2&from=6&to=2&off=0,3&figure=cls"
    opened.wait(f"location.hash === '{address}'")
    opened.driver.refresh()
    opened.wait("document.documentElement.dataset.ready === 'true'")
    assert opened.run(CHOSEN) == [0, 2, 6, 2, "what-if"]
    assert opened.run("return [choice.figure, choice.off, document.getElementById('figure-measure').value]") == [
        "cls", [0, 3], "cls",
    ]  # fmt: skip
    assert opened.run("return location.hash") == address


def test_back_and_forward_go_from_choice_to_choice(opened: Browser) -> None:
    for head in (2, 0):
        # By a click: of what no hand has chosen a browser keeps no history where it is full, as after many tests.
        opened.find(f'#gallery [data-layer="1"][data-head="{head}"]').click()
        opened.wait(f"location.hash === '#attention&block=1&head={head}&from=3&to=1'")
    for way, head in (("back", 2), ("back", 1), ("forward", 2)):
        getattr(opened.driver, way)()  # which waits, as history.back() does not
        opened.wait(f"choice.head === {head}")
        assert opened.text("#head-title") == f"Block 1, head {head}"


def test_a_choice_made_while_the_address_changes_stays(opened: Browser) -> None:
    """The browser tells a page of a new address some time after it; here the next choice comes between."""
    opened.run("choose({head: 2}); clearTimeout(waiting); location.hash = followed = address(); choose({head: 0})")
    opened.wait("location.hash === '#attention&block=1&head=0&from=3&to=1'")
    assert opened.run("return choice.head") == 0


def test_the_panel_in_the_address_is_the_one_that_is_worked_in(opened: Browser) -> None:
    opened.run("document.getElementById('saliency').scrollIntoView({block: 'end'})")
    opened.find("#what-if-grid canvas").send_keys(Keys.ENTER, Keys.ARROW_LEFT, Keys.ENTER)
    opened.wait("location.hash === '#what-if&block=1&head=1&from=3&to=1&off=1,0'")


@pytest.mark.parametrize(
    ("address", "chosen"),
    [
        ("#neuron&block=0&from=5", [0, 1, 5, 1, "neuron"]),
        ("#nowhere&block=2&head=-1&from=12&to=x&off=9,9&constructor=1&__proto__=0&head=2", [1, 2, 3, 1, "attention"]),
        ("#%E0%A4%A&=&block&&&head==1", [1, 1, 3, 1, "attention"]),
        ("#compare", [1, 1, 3, 1, "attention"]),
    ],
    ids=["part", "wrong values", "no sense", "hidden panel"],
)
def test_what_an_address_names_wrongly_is_passed_over(address: str, chosen: list[Any], opened: Browser) -> None:
    opened.run("location.hash = arguments[0]", address)
    opened.wait(f"JSON.stringify((() => {{ {CHOSEN} }})()) === '{json.dumps(chosen, separators=(',', ':'))}'")
    assert opened.driver.get_log("browser") == []


# --- Pictures --------------------------------------------------------------------------------------------------------


def test_each_panel_is_saved_as_a_picture(opened: Browser, tmp_path: Path) -> None:
    opened.driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    shown = "[...document.querySelectorAll('main > section:not([hidden])')]"
    sizes = opened.run(
        f"return {shown}.map((section) => {{ const {{ width, height }} = pictureOf(section);"
        "section.querySelector('.save').click(); return [pictureName(section), width, height]; })"
    )
    assert [name for name, _, _ in sizes] == [
        "random-attention-block-1-head-1.png", "random-neuron-block-1-head-1-from-3-MASK.png",
        "random-way-block-1-from-3-MASK.png", "random-predictions-MASK-at-3.png", "random-layers-MASK-at-3.png",
        "random-what-if-without-block-1-head-1-MASK-at-3.png", "random-saliency-MASK-at-3.png",
        "random-contributions-MASK-at-3.png",
    ]  # fmt: skip
    for name, width, height in sizes:
        wait_for(lambda name=name: (tmp_path / name).is_file())
        head = (tmp_path / name).read_bytes()[:24]
        assert head[:8] == b"\x89PNG\r\n\x1a\n"
        assert [int.from_bytes(head[at : at + 4], "big") for at in (16, 20)] == [width, height]
    assert opened.driver.get_log("browser") == []
    assert opened.run("return document.querySelectorAll('.whole, .picture-title').length") == 0


def test_a_picture_holds_the_title_the_labels_and_the_drawings(opened: Browser, record: dict[str, Any]) -> None:
    words = written_by(
        opened,
        "window.drawn = []; const draw = CanvasRenderingContext2D.prototype.drawImage;"
        "CanvasRenderingContext2D.prototype.drawImage = function (canvas, ...place) {"
        "  drawn.push(canvas.closest('[id]').id); draw.call(this, canvas, ...place); };"
        "pictureOf(document.getElementById('attention')); CanvasRenderingContext2D.prototype.drawImage = draw;",
    )
    drawn = opened.run("return drawn")
    assert words[: 1 + len(A.split())] == ["random", *A.split()]
    for title in ("Attention", "Which head looks from “[MASK]” to “the”?", "Block 1, head 1"):
        assert " ".join(words).count(title) == 1
    assert {f"{share:.4f}" for share in record["attention"]["probabilities"][:, :, 3, 1].flat} <= set(words)
    assert "In" not in words  # the explanation is left out
    assert drawn.count("gallery") == 6
    assert {"lines", "matrix", "figures"} <= set(drawn)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.perf_counter() + 20
    while not condition():
        assert time.perf_counter() < deadline
        time.sleep(0.01)


# --- Text by others, screens of others -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        f"the cat {HOSTILE}",
        "<script>document.title = 'x'</script>",
        "שלום \u202e the",
        "🦠 👩‍👩‍👧 the",
        "the " + "x" * 1500,
    ],
    ids=["end of script", "script", "right to left", "emoji", "long word"],
)
def test_hostile_text_is_shown_as_text(text: str, show: Callable[..., Browser], tokenizer: Tokenizer) -> None:
    browser = show(random_model("BertForMaskedLM"), tokenizer, text, "[MASK]")
    assert browser.text("#texts .text") == text
    assert browser.run("return document.scripts.length") == 2
    assert browser.run("return document.title") == f"{text[:60]}{'…' if len(text) > 60 else ''} · x"
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
    assert browser.driver.get_log("browser") == []


def test_a_nul_is_shown_as_its_picture(show: Callable[..., Browser], tokenizer: Tokenizer) -> None:
    assert show(random_model("Bert"), tokenizer, "the\0cat").text("#texts .text") == "the␀cat"


@pytest.mark.parametrize("width", [320, 400, 1200])
def test_no_width_makes_the_page_scroll_sideways(
    width: int, show: Callable[..., Browser], tokenizer: Tokenizer
) -> None:
    model = random_model("BertForPreTraining")
    browser = show(model, tokenizer, A, B, other=(model, tokenizer, "y"), width=width)
    wide, inner = browser.run("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= inner == width


@pytest.fixture
def on_a_phone(show: Callable[..., Browser], tokenizer: Tokenizer) -> Browser:
    """A pair through two blocks of twelve heads, 390 pixels wide."""
    shape = SHAPE.replace(hidden_size=24, num_attention_heads=12)
    model = BertForPreTraining(shape, generator=seeded(1)).eval()
    return show(model, tokenizer, A, B, other=(model, tokenizer, "y"), width=390)


def test_on_a_phone_no_number_vanishes(on_a_phone: Browser) -> None:
    """Every cell of a table of colours has its number; only tables of heads, which are tapped, scroll inside."""
    expected = {"drawHead": 12 * 12, "drawFigures": 2 * 12, "drawStream": 12 * 2, "drawWhatIf": 2 * 13}
    for draw, cells in expected.items():
        numbers = [word for word in written_by(on_a_phone, f"{draw}()") if re.fullmatch(r"[+−-]?(\d+|\d*\.\d+)", word)]
        named = {"drawHead": 0, "drawFigures": 12, "drawStream": 0, "drawWhatIf": 12}[draw]  # heads are numbers too
        assert len(numbers) == cells + named, draw
    wide = on_a_phone.run(
        "return [...document.querySelectorAll('main div')].filter((e) => e.scrollWidth > e.clientWidth)"
        "  .map((e) => `${e.id}: ${e.scrollWidth} of ${e.clientWidth}`)"
    )
    assert [name.split(":")[0] for name in wide] == ["figures", "what-if-grid", "compare-heads"]


def test_on_a_phone_heads_are_large_enough_for_a_finger(on_a_phone: Browser) -> None:
    boxes = "return [...document.querySelectorAll(arguments[0])].map((e) => [e.offsetWidth, e.offsetHeight])"
    for heads in ("#gallery button", "#pair tbody tr"):
        found = on_a_phone.run(boxes, heads)
        assert len(found) == 24
        assert np.min(found) >= 32, heads
    assert np.min(on_a_phone.run(boxes, "main select")) >= 32
    for table in ("figures", "what-if-grid", "compare-heads"):
        size = "const { cellWidth, cellHeight } = document.querySelector(`#${arguments[0]} canvas`).dataset"
        assert on_a_phone.run(f"{size}; return [+cellWidth, +cellHeight]", table) == [32, 32]


def test_on_a_phone_attention_is_on_the_first_screen_and_every_panel_one_tap_away(on_a_phone: Browser) -> None:
    assert on_a_phone.run("return document.getElementById('attention').getBoundingClientRect().top") < 844
    on_a_phone.run("document.querySelector('#contents [href=\"#saliency\"]').click()")
    assert on_a_phone.run("return panelInView()") == "saliency"
    on_a_phone.wait("document.querySelector('#contents [aria-current]').textContent === 'Saliency'")


def test_the_shares_of_the_neuron_view_are_in_sight_on_a_phone(
    show: Callable[..., Browser], tokenizer: Tokenizer
) -> None:
    browser = show(random_model("Bert"), tokenizer, A, B, width=390)
    wide, inner = browser.run("const e = document.getElementById('neuron-rows'); return [e.scrollWidth, e.clientWidth]")
    assert wide <= inner


def test_light_and_dark_are_two_pictures(show: Callable[..., Browser], tokenizer: Tokenizer) -> None:
    pictures = set()
    for dark in (False, True):
        browser = show(random_model("Bert"), tokenizer, A, dark=dark)
        paper = browser.run("return getComputedStyle(document.body).backgroundColor")
        assert paper == ("rgb(20, 24, 28)" if dark else "rgb(255, 255, 255)")
        pictures.add(browser.picture("#matrix canvas"))
    assert len(pictures) == 2


@pytest.mark.parametrize("dark", [False, True])
def test_what_is_written_on_a_colour_can_be_read(
    dark: bool, show: Callable[..., Browser], tokenizer: Tokenizer
) -> None:
    """A contrast ratio of 4.5 or more, WCAG 2's for text."""
    browser = show(random_model("Bert"), tokenizer, A, dark=dark)
    shares = "[...Array(201).keys()].map((whole) => (whole - 100) / 100)"
    drawn = browser.run(
        f"return {shares}.flatMap((s) => [signColour(s), shareColour(Math.abs(s))]).map((c) => [c, inkOn(c)])"
    )

    def luminance(channels: Any) -> float:
        values = [value / 255 for value in channels]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    for colour, ink in drawn:
        light, deep = sorted([luminance(colour), 1.0 if ink == "#fff" else 0.0], reverse=True)
        assert (light + 0.05) / (deep + 0.05) >= 4.5


def test_the_mark_of_what_is_chosen_is_seen_on_its_own_colour(opened: Browser, record: dict[str, Any]) -> None:
    change = record["what_if"]["values"][0] - record["predictions"][0]["answers"][0]["value"]
    row, column = (int(place) for place in np.unravel_index(change.argmin(), change.shape))
    opened.run("choose({off: [arguments[0], arguments[1]]})", row, column)
    x, y = opened.cell("#what-if-grid canvas", row, column)
    pixels = opened.run(  # the cell's lower edge, below its text
        "const context = document.querySelector('#what-if-grid canvas').getContext('2d');"
        "const { data } = context.getImageData(arguments[0], arguments[1] + 8, 1, 4);"
        "return [0, 4, 8, 12].map((at) => [...data.slice(at, at + 3)].join())",
        x, y,
    )  # fmt: skip
    assert len(set(pixels)) > 1, pixels


def test_both_minus_signs_of_a_number_are_the_same(opened: Browser) -> None:
    assert opened.run("return [-0.00001234, 0.0001].map((value) => signed(value, digits))") == ["−1.23e−5", "+1.00e−4"]


# --- Bounds ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_largest_page_keeps_within_its_bounds_and_opens(
    browser: Browser, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """128 tokens, most of them asked about, two models of 12 blocks of 12 heads of 64 dimensions, with attention as
    peaked as trained models have it.
    """
    model = BertForPreTraining(PRESETS["base"].replace(vocab_size=80), generator=seeded(0)).eval()
    with torch.no_grad():
        for block in model.encoder.blocks:
            block.attention.query_key_value.weight.mul_(3.5)
    text = "the [MASK] [MASK] [MASK] " * 31
    record = make_record(model, tokenizer, text, "the", name="base", other=(model, tokenizer, "second"))
    page = html_page(record)
    assert len(record["tokens"]) == 128
    assert len(page.encode()) < 15e6
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    browser.open(tmp_path / "page.html")
    assert sorted(visible_panels(browser)) == sorted([*ALWAYS, *NEED_A_HEAD, "compare"])
    assert browser.driver.get_log("browser") == []
