"""That `python -m tests.behaviour compare` sees what differs; recording takes minutes and is no test."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from tests.behaviour import __main__, records

CHANGES = {
    "a loss": ("loss: 0.25 apart", lambda: {"loss": 2.25}),
    "a number of a tensor": ("logits: 0.5 apart", lambda: {"logits": records.of_tensor(torch.tensor([1.0, 2.5]))}),
    "the sign of a zero": ("zeros: 0 apart", lambda: {"zeros": records.of_tensor(-torch.zeros(40))}),
    "another format": ("logits: ", lambda: {"logits": records.of_tensor(torch.tensor([1.0, 2.0]).double())}),
    "a text": ("log: 'epoch 2' instead of 'epoch 1'", lambda: {"log": "epoch 2"}),
    "an entry more": ("surplus: new", lambda: {"surplus": 1}),
}


def recorded(place: Path, **changed: object) -> Path:
    """A record of one case and of the machine."""
    entries = {"loss": 2.0, "logits": records.of_tensor(torch.tensor([1.0, 2.0])), "log": "epoch 1",
               "zeros": records.of_tensor(torch.zeros(40)), "gradients": {"w": float("nan")}}  # fmt: skip
    records.write(place, "models/bert", entries | changed)
    records.write(place, records.MACHINE, {"torch": "2"})
    return place


def compare(monkeypatch: pytest.MonkeyPatch, before: Path, after: Path) -> int:
    monkeypatch.setattr("sys.argv", ["behaviour", "compare", str(before), str(after)])
    return __main__.main()


@pytest.mark.parametrize("name", CHANGES)
def test_a_difference_is_told(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told, change = CHANGES[name]
    assert compare(monkeypatch, recorded(tmp_path / "a"), recorded(tmp_path / "b", **change())) == 1
    assert "models/bert: 1 of 5 entries differ" in (out := capsys.readouterr().out) and told in out


def test_equal_records_are_equal_and_a_case_that_one_lacks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = recorded(tmp_path / "a"), recorded(tmp_path / "b")
    assert compare(monkeypatch, before, after) == 0
    records.write(before, "embed", {"vectors": 1})
    assert compare(monkeypatch, before, after) == 1 and "embed: missing" in capsys.readouterr().out


def test_of_a_file_of_weights_each_tensor_is_told() -> None:
    kept = records.of_content("model.safetensors", save({"b": torch.ones(2), "a": torch.zeros(3, 5)}))
    assert list(kept) == ["sha256", "a", "b"] and kept["b"]["numbers"] == [1.0, 1.0]
    assert kept["a"]["tensor"] == "float32 [3, 5]" and kept["a"]["numbers"] == [0.0] * records.FIRST
