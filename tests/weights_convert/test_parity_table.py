"""The script that writes the tables of docs/verification.md."""

from __future__ import annotations

import re

import pytest

from tests.helpers import REPOSITORY
from tests.weights_convert.parity_table import main
from tests.weights_convert.reference_models import KINDS, RELATIVES, family_of_kind


@pytest.mark.parametrize("steps", [0, 1])
def test_a_row_for_each_class_of_the_families_asked_for(steps: int, capsys: pytest.CaptureFixture[str]) -> None:
    main(["tiny", "--family", "distilbert", "--steps", str(steps)])
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[0] for row in rows] == [f"distilbert {kind}" for kind in RELATIVES["distilbert"][1]]
    for _, shape, values, gradients, exact, hidden, _, rounded, losses in rows:
        assert shape == "tiny" and float(values) <= 1e-10 and float(gradients) <= 1e-9 and float(hidden) <= 2e-5
        assert all(re.fullmatch(r"(\d+) of \1", verdict) for verdict in (exact, rounded))
        assert (losses == "") if steps == 0 else float(losses) <= 1e-8


def test_the_page_has_a_row_for_each_class_of_each_family() -> None:
    page = (REPOSITORY / "docs" / "verification.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| ([a-z ]+) \| (tiny|odd|base) \| .*\b(\d+) of \3 \|.*\b(\d+) of \4 \|", page, re.MULTILINE)
    rows = [(kind, shape) for kind, shape, *_ in found]
    assert len(set(rows)) == len(rows)
    for shape in ("tiny", "odd", "base"):
        expected = {kind for kind in KINDS if shape != "base" or family_of_kind(kind) != "longformer"}
        assert {kind for kind, each in rows if each == shape} == expected
