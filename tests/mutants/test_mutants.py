"""The drawing of mutants, and that one which has to be killed is; trying 200 takes long and is no test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants.__main__ import REPOSITORY, try_out
from tests.mutants.drawing import draw, mutants_of

TOY = '''"""A docstring: 1 < 2."""

def smaller(a: int = 3, *others: int) -> bool:
    if not others:
        raise ValueError(f"{a} of 1")
    return min(a, others[0]) < others[-1]
'''


def test_mutants_are_slips_in_what_is_executed() -> None:
    assert [mutant.diff(TOY).splitlines()[-1].strip("+ ") for mutant in mutants_of("toy.py", TOY)] == [
        "def smaller(a: int = 2, *others: int) -> bool:",
        "def smaller(a: int = 4, *others: int) -> bool:",
        "if others:",
        "pass",
        "return min(others[0], a) < others[-1]",
        "return min(a, others[-1]) < others[-1]",
        "return min(a, others[1]) < others[-1]",
        "return min(a, others[0]) <= others[-1]",
        "return min(a, others[0]) < others[1]",
        "return min(a, others[0]) < others[-0]",
        "return min(a, others[0]) < others[-2]",
    ]


def test_a_seed_draws_the_same_mutants_and_as_many_of_each_file() -> None:
    sources = {"a.py": TOY, "b.py": "".join(f"x = {number}\n" for number in range(9))}
    drawn = draw(sources, 8, seed=0)
    assert drawn == draw(sources, 8, seed=0) != draw(sources, 8, seed=1)
    assert [mutant.file for mutant in drawn] == ["a.py", "b.py"] * 4


@pytest.mark.slow
def test_a_mutant_is_killed_by_the_test_that_sees_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    (copy := tmp_path / "copy").mkdir()
    (copy / "test_toy.py").write_text(
        "from toy import smaller\n\ndef test_blind():\n    smaller(1, 2)\n\n"
        "def test_equal():\n    assert not smaller(1, 1)\n"
    )
    (copy / "toy.py").write_text(TOY)
    (mutant,) = (mutant for mutant in mutants_of("toy.py", TOY) if mutant.new == "<=")
    blind, seeing = "test_toy.py::test_blind", "test_toy.py::test_equal"
    covered = {"seconds": {blind: 0.1, seeing: 0.2}, "lines": {"toy.py": {"6": [0, 1]}}}
    result = try_out(mutant, TOY, covered, copy, most_seconds=60)
    assert (result["outcome"], result["by"], result["tried"], result["line"]) == ("killed", seeing, 2, 6)
    assert (copy / "toy.py").read_text() == TOY
    covered["lines"]["toy.py"]["6"] = [0]
    assert try_out(mutant, TOY, covered, copy, most_seconds=60)["outcome"] == "survived"
    assert try_out(mutant, TOY, covered | {"lines": {"toy.py": {}}}, copy, most_seconds=60)["outcome"] == "not covered"
