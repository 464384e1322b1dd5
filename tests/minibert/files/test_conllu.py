"""CoNLL-U: the words of sentences, their running text, what is refused, and files given back with other cells."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from minibert.files import conllu
from minibert.files.conllu import Sentence, read_blocks, read_sentence, replaced
from minibert.files.text import read_lines, read_raw_lines
from tests.finetune.files import DATA, needs_data, write
from tests.helpers import refusal

# Whatever the format allows, and some of what it does not: a comment inside, lines of white space, no end.
ODD = (
    "\ufeff# sent_id = 1\r\n"
    "0.1\tYo\tyo\tPRON\t_\t_\t_\t_\t_\t_\r\n"
    "1-2\tVámonos\t_\t_\t_\t_\t_\t_\t_\tSpaceAfter=No\r\n"
    "1\tVamos\tir\tVERB\tV\t_\t0\troot\t_\tSpaceAfter=No\r\n"
    "# in between\r\n"
    "2\tnos\tnosotros\tPRON\tP\t_\t1\tobj\t_\t_\r\n"
    "3\t,\t,\tPUNCT\t_\t_\t1\tpunct\t_\tX=1|SpaceAfter=No\r\n"
    "4\tNew York\t_\tPROPN\t_\t_\t1\tobl\t_\t_\r\n"
    "4.1\tfue\tir\tVERB\tV\t_\t_\t_\t0:x\t_\r\n"
    "4.2\tya\tya\tADV\tV\t_\t_\t_\t0:x\t_\r\n"
    "5\t\u00a0#\t#\tSYM\t_\t_\t1\tx\t_\tNoSpaceAfter=No\r\n"
    " \t \r\n\n# alone\n\n"
    "1\tSí\tsí\tINTJ\tI\t_\t0\troot\t_\t_\n\n\n"
    "1\tNo\tno\tINTJ\tI\t_\t0\troot\t_\t_"
)
REST = "\t_\tX\t_\t_\t_\t_\t_\t_\n"


def read(path: str) -> Iterator[Sentence]:
    return (read_sentence(block, path) for block in read_blocks(read_lines(path), path))


def row(number: str, form: str = "a") -> str:
    return f"{number}\t{form}{REST}"


@pytest.mark.parametrize("name", ["a.conllu", "a.conllu.gz"])
def test_words_have_rows_cells_and_their_place_in_the_text(name: str, tmp_path: Path) -> None:
    first, second, third = read(write(tmp_path / name, ODD))
    assert first.rows == (4, 6, 7, 8, 11)
    assert first.text == "Vamos nos,New York \u00a0#"
    assert [first.text[start:end] for start, end in first.offsets] == ["Vamos", "nos", ",", "New York", "\u00a0#"]
    assert list(first.cells) == ["id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc"]
    assert first.cells["upos"] == ("VERB", "PRON", "PUNCT", "PROPN", "SYM")
    assert (second.rows, second.text, third.rows, third.offsets) == ((16,), "Sí", (19,), ((0, 2),))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            row("1") + "2 a _ X _ _ _ _ _ _\n",
            "2: 1 column, expected the 10 of CoNLL-U, separated by tabs; files",
        ),
        ("1\ta\tX\n", "1: 3 columns, expected the 10 of CoNLL-U"),
        (row("1") + row("2", ""), "2: column form is empty, expected _ where there is no value"),
        (row("1").replace("X", ""), "1: column upos is empty, expected _"),
        (row("1") + row("3"), "2: number '3', expected 2: words are numbered 1, 2, 3, and a blank line ends each"),
        (row("1") + row("1"), "2: number '1', expected 2"),
        (row("0"), "1: number '0', expected 1"),
        (row("1") + row("2."), "2: number '2.', expected 2"),
        (row("\u0661"), "1: number '\u0661', expected 1"),
        (row("1.1") + row("1"), "1: number '1.1', expected 1"),
        (row("1") + row("1-2") + row("2"), "2: number '1-2', expected 2"),
        (row("1-1") + row("1"), "1: number '1-1', expected 1"),
        (row("1-3") + row("1") + row("2-4") + row("2"), "3: number '2-4', expected 2"),
        (row("1-2") + row("1") + "\n" + row("1"), "2: the sentence ends here, expected word 2"),
        (row("0.1"), "1: the sentence ends here, expected word 1"),
    ],
)
def test_rows_that_are_refused(content: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.conllu", content)
    assert refusal(lambda: list(read(path))).startswith(f"{path}:{message}")


def test_a_sentence_that_does_not_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conllu, "LONGEST_SENTENCE", 50)
    path = write(tmp_path / "a.conllu", row("1") + "\n" + row("1") + row("2") + row("3"))
    sentences = read(path)
    assert next(sentences).rows == (1,)
    assert refusal(lambda: next(sentences)) == (
        f"{path}:5: the sentence has more than 50 characters; put a blank line after each sentence"
    )


@pytest.mark.parametrize("name", ["a.conllu", "a.conllu.gz"])
@pytest.mark.parametrize("column", conllu.COLUMNS[2:])
def test_only_the_cells_named_are_others(name: str, column: str, tmp_path: Path) -> None:
    path = write(tmp_path / name, ODD)
    changed = b"".join(replaced(path, column, [(6, "é"), (19, "")]))
    expected = ODD.split("\n")
    for number, cell in ((6, "é"), (19, "")):
        cells = expected[number - 1].removesuffix("\r").split("\t")
        cells[conllu.COLUMNS.index(column)] = cell
        expected[number - 1] = "\t".join(cells) + "\r" * (number == 6)
    assert changed.decode() == "\n".join(expected)


def test_cells_are_taken_one_by_one_and_to_the_end(tmp_path: Path) -> None:
    """The end of what computes them may report something."""
    taken: list[int] = []

    def cells() -> Iterator[tuple[int, str]]:
        for sentence in read(path):
            taken.extend(sentence.rows)
            yield from zip(sentence.rows, sentence.cells["upos"], strict=True)
        taken.append(0)

    path = write(tmp_path / "a.conllu", ODD)
    lines = replaced(path, "upos", cells())
    assert [next(lines), *taken] == ["\ufeff# sent_id = 1\r\n".encode(), 4, 6, 7, 8, 11]
    assert [*lines][-1].startswith(b"1\tNo") and taken == [4, 6, 7, 8, 11, 16, 19, 0]
    assert b"".join(replaced(path, "upos", [])) == ODD.encode()


@needs_data
@pytest.mark.parametrize("column", ["upos", "misc"])
@pytest.mark.parametrize("name", ["dev.conllu", "test.conllu", "train.conllu.gz"])
def test_partut_with_its_own_cells_is_the_same_file(name: str, column: str) -> None:
    path = str(DATA / "ud-partut" / name)
    own = (cell for sentence in read(path) for cell in zip(sentence.rows, sentence.cells[column], strict=True))
    assert b"".join(replaced(path, column, own)) == b"".join(read_raw_lines(path))


@needs_data
@pytest.mark.parametrize(("name", "count"), [("dev.conllu", 129), ("test.conllu", 142), ("train.conllu.gz", 1436)])
def test_the_text_is_that_of_partut(name: str, count: int) -> None:
    """Its comment `# text` says what the text is; not so if there is a range, whose form it has. awk counted these."""
    path = str(DATA / "ud-partut" / name)
    texts = [line.removeprefix("# text = ").rstrip() for _, line in read_lines(path) if line.startswith("# text = ")]
    ranges = [any("-" in line.split("\t")[0] for _, line in block) for block in read_blocks(read_lines(path), path)]
    same = 0
    for text, has_range, found in zip(texts, ranges, read(path), strict=True):
        assert has_range or found.text == text
        assert tuple(found.text[start:end] for start, end in found.offsets) == found.cells["form"]
        same += not has_range
    assert same == count


@pytest.mark.parametrize("cell", ["a\tb", "a\nb"])
def test_a_new_cell_leaves_the_columns_as_they_are(cell: str, tmp_path: Path) -> None:
    path = tmp_path / "x.conllu"
    path.write_text("1\tHe\the\tPRON\t_\t_\t0\troot\t_\t_\n")
    assert "x.conllu:1: the new upos is" in refusal(lambda: list(replaced(str(path), "upos", [(1, cell)])))
