"""The page as a file: how exact it is, how hostile text stands in it, and what the command refuses."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import importlib
import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

import minibert
from minibert import checkpoint
from minibert.architectures import ARCHITECTURES
from minibert.exploring.packing import Packed, pack, packed
from minibert.exploring.page import SCRIPTS, asset, html_page, json_text
from minibert.exploring.record import make_record
from minibert.tokenizer import Tokenizer
from tests.helpers import contents, full_disk
from tests.minibert.exploring.conftest import A, B, random_model
from tests.minibert.running import error_line, run

HOSTILE = '</script><script>alert("1")</script><!-- & \' "'


class Elements(html.parser.HTMLParser):
    """The elements of a page as a parser sees them: (tag, attributes, content) each."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], str]] = []
        self.is_open = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), ""))
        self.is_open = True

    def handle_endtag(self, tag: str) -> None:
        self.is_open = False

    def handle_data(self, data: str) -> None:
        if self.is_open:
            tag, attributes, content = self.found[-1]
            self.found[-1] = (tag, attributes, content + data)

    def of(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        return [(attributes, content) for found, attributes, content in self.found if found == tag]


def data_of(page: str) -> dict[str, Any]:
    (data,) = [content for attributes, content in Elements(page).of("script") if attributes.get("id") == "data"]
    return json.loads(data)


def unpacked(entry: dict[str, Any]) -> NDArray[np.float64]:
    """What the script makes of a packed array, written again."""
    raw = np.frombuffer(zlib.decompress(base64.b64decode(entry["data"])), np.uint8)
    numbers = raw.reshape(entry["bytes"], -1).T.copy().view(f"<i{entry['bytes']}").reshape(entry["shape"])
    return numbers * np.array(entry["steps"]).reshape(-1, *[1] * (numbers.ndim - 1))


# --- Rounding --------------------------------------------------------------------------------------------------------


def test_attention_on_the_page_is_the_traced_one_to_four_decimals(record: dict[str, Any]) -> None:
    found = unpacked(data_of(html_page(record))["attention"]["probabilities"])
    for exact, shown in zip(record["attention"]["probabilities"].flat, found.flat, strict=True):
        assert f"{shown:.4f}" == f"{exact:.4f}"


def test_what_is_rounded_is_said_with_its_largest_error(record: dict[str, Any]) -> None:
    page = data_of(html_page(record))
    said = {entry["name"]: entry["largest_error"] for entry in page["rounding"]}
    for place, values in (("embeddings", record["embeddings"]["values"]), ("blocks", record["blocks"]["values"])):
        for name, exact in values.items():
            error = np.abs(unpacked(page[place]["values"][name]) - exact).max()
            assert said[f"{place} values {name}"] == pytest.approx(error, rel=1e-4)
            assert error <= np.sqrt((exact.astype(np.float64) ** 2).mean()) / 10
    assert said["attention probabilities"] <= 0.00005
    assert len(said) == 5 + 7 + 1 + 1


def test_scores_summed_on_the_page_differ_by_what_is_said(record: dict[str, Any]) -> None:
    page = data_of(html_page(record))
    exact, shown = (
        np.einsum(
            "lqnd,lknd->lnqk", *(values[f"attention.{name}"].reshape(2, 12, 3, 8) for name in ("query", "key"))
        ) / 8**0.5
        for values in (
            {name: value.astype(np.float64) for name, value in record["blocks"]["values"].items()},
            {name: unpacked(value) for name, value in page["blocks"]["values"].items()},
        )
    )  # fmt: skip
    assert np.abs(exact - shown).max() == pytest.approx(page["rounding"][-1]["largest_error"], rel=1e-4)
    assert page["rounding"][-1]["largest_error"] < 0.02


@pytest.mark.parametrize("largest", [127, 128, 30_000])
def test_numbers_of_one_and_of_two_bytes_come_back(largest: int) -> None:
    array = np.array([[largest, -largest, 1], [-1, 0, 2]], np.float32)
    entry = pack(array, [1.0, 0.5]).to_json()
    assert entry["bytes"] == (1 if largest == 127 else 2)
    assert_allclose(unpacked(entry), array)


def test_the_answers_of_what_if_come_back(record: dict[str, Any]) -> None:
    entry = data_of(html_page(record))["what_if"]["answers"]
    found = json.loads(zlib.decompress(base64.b64decode(entry["json"])))
    assert found == json.loads(json_text(record))["what_if"]["answers"]
    assert len(found) == 3 and len(found[0][1]) == 4


def test_an_array_of_zeros_can_be_packed(record: dict[str, Any]) -> None:
    record["blocks"]["values"]["attention.value"][:] = 0
    assert not unpacked(packed(record)["blocks"]["values"]["attention.value"]).any()


def test_a_packed_arrays_error_is_measured() -> None:
    found = pack(np.array([0.0, 0.3, 1.1]), [0.5])
    assert isinstance(found, Packed)
    assert found.values().tolist() == [0.0, 0.5, 1.0]
    assert found.largest_error == pytest.approx(0.2)


def test_json_holds_every_array_to_six_digits(record: dict[str, Any]) -> None:
    found = json.loads(json_text(record))
    assert found.keys() == record.keys()
    assert_allclose(found["attention"]["probabilities"], record["attention"]["probabilities"], rtol=5e-6)
    for name, values in record["blocks"]["values"].items():
        assert_allclose(found["blocks"]["values"][name], values, rtol=5e-6)
    assert found["predictions"][0]["answers"][0]["value"] == pytest.approx(
        record["predictions"][0]["answers"][0]["value"], rel=5e-6
    )


# --- What stands in the page -----------------------------------------------------------------------------------------


def test_hostile_text_stands_in_the_data_alone(tokenizer: Tokenizer) -> None:
    texts = (f"the cat {HOSTILE}", "{{script}} the \u202e dog 🦠")
    page = html_page(make_record(random_model("Bert"), tokenizer, *texts, name=HOSTILE))
    elements = Elements(page)
    assert [attributes.get("id") for attributes, _ in elements.of("script")] == ["data", None]
    assert data_of(page)["texts"] == list(texts)
    assert data_of(page)["model"]["name"] == HOSTILE
    assert page.count("alert") == 2 + 2  # text and name, in the data and in the title
    ((_, title),) = elements.of("title")
    assert title == f"the cat {HOSTILE} · {HOSTILE}"


def test_the_policy_allows_this_script_and_style_and_no_network(record: dict[str, Any]) -> None:
    elements = Elements(html_page(record))
    (policy,) = [a["content"] for a, _ in elements.of("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    script, style = elements.of("script")[1][1], elements.of("style")[0][1]

    def hashed(content: str) -> str:
        return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()

    assert policy == (
        f"default-src 'none'; script-src '{hashed(script)}'; style-src '{hashed(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"https?://|\bimport\b|url\(", script + style)
    assert not [a for _, a, _ in elements.found if a.keys() & {"src", "style", "onclick", "onload"}]


def test_every_script_is_in_the_page_and_none_reads_text_as_html() -> None:
    there = {path.name for path in (Path(minibert.__file__).parent / "exploring" / "assets").glob("*.js")}
    assert set(SCRIPTS) == there
    for name in SCRIPTS:
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", asset(name))
        assert len(asset(name).splitlines()) <= 250


def test_each_panel_names_its_paper_and_code_that_exists() -> None:
    panels = re.findall(r"<section.*?</section>", asset("page.html"), re.DOTALL)
    assert len(panels) == 9
    for panel in panels:
        (source,) = re.findall(r'<p class="source">(.*?)</p>', panel, re.DOTALL)
        (about,) = re.findall(r'<p class="about">(.*?)</p>', panel, re.DOTALL)
        assert len(about.splitlines()) == 2
        assert re.search(r"(Devlin|Vaswani) et al. 201[78], (section|equation|figure)", source)
        codes = re.findall(r"<code>(.*?)</code>", source)
        assert codes
        for code in codes:
            names = code.split(".")
            length = next(n for n in range(len(names), 0, -1) if importable(".".join(names[:n])))
            found: object = importlib.import_module(".".join(names[:length]))
            for name in names[length:]:
                found = getattr(found, name)


def test_the_page_says_how_it_counts_and_what_a_norm_is() -> None:
    page = " ".join(asset("page.html").split())
    for sentence in (
        "Blocks, heads and tokens are counted from 0 here, as in the code. Papers count from 1: block 3, head 1 here "
        "is head 2 of their layer 4.",
        "‖x‖ is the norm of a vector x, its length: the square root of the sum of its squared values.",
    ):
        assert page.count(sentence) == 1
    assert not [name for name in SCRIPTS if "darkest" in asset(name)]  # a strongest colour is dark or bright


def importable(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError:
        return False
    return True


# --- The command -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_command_writes_a_page_of_any_class(
    architecture: str, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    checkpoint.save(random_model(architecture), tokenizer, tmp_path / "model")
    page, data = tmp_path / "page.html", tmp_path / "page.json"
    args = ["explore", str(tmp_path / "model"), A, B, "--out", str(page), "--json", str(data)]
    assert run(monkeypatch, *args, "--compare", str(tmp_path / "model")) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    lines = shown.out.splitlines()
    assert lines[0] == f"{page}: {page.stat().st_size:,} bytes"
    assert lines[1] == f"{data}: {data.stat().st_size:,} bytes"
    assert lines[2].startswith("12 tokens, 2 blocks of 3 heads, in ")
    record = make_record(random_model(architecture), tokenizer, A, B, name="model")
    found = json.loads(data.read_text(encoding="utf-8"))
    assert_allclose(found["attention"]["probabilities"], record["attention"]["probabilities"], rtol=0, atol=1e-6)
    assert data_of(page.read_text(encoding="utf-8"))["tokens"] == record["tokens"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "page.html", "page.json"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"directory": "none"}, "{tmp}/none is not a model directory: it has no config.json"),
        ({"--compare": "none"}, "{tmp}/none is not a model directory: it has no config.json"),
        ({"text": ""}, "the text is empty: there are no tokens in ''"),
        ({"second": " "}, "the second text is empty: there are no tokens in ' '"),
        ({"text": "the " * 61}, "66 tokens, but the model has 64 positions"),
        ({"--max-tokens": "5"}, "7 tokens, but --max-tokens is 5: give a shorter text or a larger limit"),
        ({"--max-tokens": "2"}, "--max-tokens must be at least 3, not 2"),
        ({"--out": "none/page.html"}, "{tmp}/none/page.html: there is no directory {tmp}/none"),
        ({"--out": "folder"}, "{tmp}/folder is a directory, expected a file to write"),
        ({"--out": ""}, ". is a directory, expected a file to write"),
        ({"--json": "none/data.json"}, "{tmp}/none/data.json: there is no directory {tmp}/none"),
        ({"--json": "page.html"}, "{tmp}/page.html: --out and --json name the same file"),
    ],
    ids=lambda value: " ".join(value) + " " + "".join(value.values())[:12] if isinstance(value, dict) else "",
)
def test_the_command_refuses_in_one_line_and_leaves_nothing(
    changed: dict[str, str], message: str, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.rglob("*"))
    options = {"directory": directory.name, "text": "the cat", "second": "the dog", "--out": "page.html"} | changed
    places = {"directory", "--out", "--compare", "--json"}
    given = {name: str(tmp_path / value) if name in places and value else value for name, value in options.items()}
    args = [given.pop(name) for name in ("directory", "text", "second")]
    assert run(monkeypatch, "explore", *args, *(word for option in given.items() for word in option)) == 2
    assert error_line(capsys) == "error: " + message.format(tmp=tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_page_that_is_there_is_replaced_whole_or_stays(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    page.write_text("of yesterday")
    before = contents(tmp_path)
    with full_disk():
        assert run(monkeypatch, "explore", str(directory), A, "--out", str(page)) == 3
    assert error_line(capsys) == f"error: {page}: File too large"
    assert contents(tmp_path) == before
    assert run(monkeypatch, "explore", str(directory), A, "--out", str(page)) == 0
    assert data_of(page.read_text(encoding="utf-8"))["texts"] == [A]


def test_help_tells_every_option(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "explore", "--help") == 0
    shown = capsys.readouterr().out
    for word in ("--out", "--compare", "--max-tokens", "--json", "--device", "DIR", "TEXT", "SECOND", "default: 128"):
        assert word in shown
