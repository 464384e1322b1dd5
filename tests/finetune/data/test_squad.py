"""SQuAD files: what is read of them, answers that stand elsewhere, and files that are not SQuAD's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from finetune.data.examples import Answer, QuestionExample
from finetune.data.squad import Questions, count_absent, read_questions, read_squad, without_misplaced
from minibert.files.tally import Tally
from tests.finetune.files import DATA, needs_data, standard_input, write
from tests.helpers import refusal

CONTEXT = "Zoë 🐈 sat on the mat."


def question(id: str | None = "q1", **fields: Any) -> dict[str, Any]:
    return {"id": id, "question": "Who sat?", "answers": [{"text": "Zoë", "answer_start": 0}], **fields}


def squad(*questions: dict[str, Any], version: str = "1.1", **article: Any) -> dict[str, Any]:
    paragraph = {"context": CONTEXT, "qas": list(questions)}
    return {"version": version, "data": [{"title": "Cats", "paragraphs": [paragraph], **article}]}


def read(tmp_path: Path, content: object, *, labelled: bool = True, name: str = "a.json") -> Questions:
    return read_squad(write(tmp_path / name, json.dumps(content)), labelled=labelled)


@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_a_question_of_version_1(tmp_path: Path, name: str) -> None:
    answers = [{"text": "Zoë", "answer_start": 0}, {"text": "🐈", "answer_start": 4}]
    found = read(tmp_path, squad(question(question=" Who? ", answers=answers)), name=name)
    assert found == Questions(
        examples=(
            QuestionExample(
                id="q1", question=" Who? ", context=CONTEXT, answers=(Answer("Zoë", 0), Answer("🐈", 4)),
                title="Cats", where=f"{tmp_path / name}: question q1",
            ),
        ),
        version_2=False,
    )  # fmt: skip
    assert without_misplaced(found.examples)[0] == list(found.examples)


@pytest.mark.parametrize(
    ("content", "impossible"),
    [
        (squad(question(is_impossible=False), question("q2", is_impossible=True, answers=[])), [False, True]),
        (squad(question(), question("q2", answers=[]), version="v2.0"), [False, True]),
        (squad(question(), version="v2.0"), [False]),
        (squad(question(is_impossible=False), version="mine"), [False]),
    ],
)
def test_questions_of_version_2_may_have_no_answer(tmp_path: Path, content: object, impossible: list[bool]) -> None:
    found = read(tmp_path, content)
    assert found.version_2
    assert [bool(x.answers) for x in found.examples] == [not value for value in impossible]


def test_answers_are_not_looked_at_where_they_are_to_be_predicted(tmp_path: Path) -> None:
    content = squad({"id": "q1", "question": "Who?"}, question("q2", answers="nonsense"))
    del content["version"], content["data"][0]["title"]
    found = read(tmp_path, content, labelled=False)
    assert [(x.id, x.answers, x.title) for x in found.examples] == [
        ("q1", (), "article 0"), ("q2", (), "article 0"),
    ]  # fmt: skip
    assert list(read_questions(str(tmp_path / "a.json"))) == list(found.examples)


def test_questions_to_be_predicted_come_line_by_line_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = '{"question": "Who?", "context": "He."}\n\n{"context": "It.", "question": "What?", "id": "x"}\n'
    for path in (write(tmp_path / "a.jsonl.gz", lines), standard_input(monkeypatch, lines)):
        assert [(x.id, x.question, x.context) for x in read_questions(path)] == [
            ("1", "Who?", "He."), ("x", "What?", "It."),
        ]  # fmt: skip
    path = write(tmp_path / "b.jsonl", '{"question": "Who?", "context": ""}\n')
    assert "b.jsonl:1: field 'context' is empty" in refusal(lambda: list(read_questions(path)))
    path = write(tmp_path / "c.jsonl", '{"question": "Who?", "passage": "He."}\n')
    assert "c.jsonl:1: field 'context' is missing; the object has 'question', 'passage'" in refusal(
        lambda: list(read_questions(path))
    )


@pytest.mark.parametrize("id", ["q-77", 630, 0, -1])
def test_ids_stay_what_they_are(id: str | int, tmp_path: Path) -> None:
    for labelled in (True, False):
        (found,) = read(tmp_path, squad(question(id)), labelled=labelled).examples  # type: ignore[arg-type]
        assert found.id == id and type(found.id) is type(id)
    line = json.dumps({"id": id, "question": "Who?", "context": "He."})
    (found,) = read_questions(write(tmp_path / "a.jsonl", line))
    assert found.id == id and type(found.id) is type(id)


@pytest.mark.parametrize(("id", "found"), [(1.5, "a number"), (True, "a boolean"), ([1], "an array")])
def test_ids_of_other_types_are_refused(id: object, found: str, tmp_path: Path) -> None:
    said = f"field 'id' is {found}, expected a string or a whole number"
    assert said in refusal(lambda: read(tmp_path, squad(question(id=id))))  # type: ignore[arg-type]
    path = write(tmp_path / "a.jsonl", json.dumps({"id": id, "question": "Who?", "context": "He."}))
    assert f"a.jsonl:1: {said}" in refusal(lambda: list(read_questions(path)))


def test_ids_that_answers_could_not_tell_apart(tmp_path: Path) -> None:
    content = squad(question("7"), question(id=7))  # type: ignore[arg-type]
    assert "question 7: the id appears more than once" in refusal(lambda: read(tmp_path, content))


# --- Answers that stand elsewhere ------------------------------------------------------------------------------------


def test_misplaced_answers_leave_training_counted_and_the_first_shown(tmp_path: Path) -> None:
    answers = [("mat", 17), ("mat", 18), ("mat", -5), ("sat", 6), ("mat", 1000), ("the mat.", 13)]
    questions = [question(f"q{n}", answers=[{"text": a, "answer_start": s}]) for n, (a, s) in enumerate(answers)]
    both = [{"text": "Zoë", "answer_start": 0}, {"text": "sat", "answer_start": 0}]
    more = [question("both", answers=both), question("impossible", is_impossible=True, answers=[])]
    found = read(tmp_path, squad(*questions, *more))
    kept, first = without_misplaced(found.examples)
    assert [x.id for x in kept] == ["q0", "q3", "q5", "impossible"]
    assert first == f"{tmp_path / 'a.json'}: question q1: the answer 'mat' should start at 18, but 'at.' is there"
    assert len(found.examples) == 8  # all of them are scored


def test_answers_that_are_nowhere_in_the_passage_are_counted(tmp_path: Path) -> None:
    texts = [("mat", 17), ("mat", -1), ("dog", 0)]
    questions = [question(f"q{n}", answers=[{"text": a, "answer_start": s}]) for n, (a, s) in enumerate(texts)]
    one_of_two = question("both", answers=[{"text": a, "answer_start": 0} for a in ("dog", "Zoë")])
    found = read(tmp_path, squad(*questions, one_of_two, question("none", is_impossible=True, answers=[])))
    assert count_absent(found.examples) == 1


def test_nothing_misplaced_nothing_shown(tmp_path: Path) -> None:
    found = read(tmp_path, squad(question())).examples
    assert without_misplaced(found) == (list(found), "")


# --- What is refused -------------------------------------------------------------------------------------------------


FLAT = "docs/finetuning.md shows how to convert records that each have a context"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"context": "x"}], f"a.json: expected a JSON object as in SQuAD's files, found an array; {FLAT}"),
        ({"context": "x"}, f"a.json: field 'data' is missing, expected an array as in SQuAD's files; {FLAT}"),
        ({"data": [{"context": "x"}]}, f"'paragraphs' is missing, expected an array as in SQuAD's files; {FLAT}"),
        ({"version": "1.1"}, "a.json: field 'data' is missing, expected an array as in SQuAD's files"),
        ({"data": {}}, "a.json: field 'data' is an object, expected an array"),
        ({"data": []}, "a.json: no question found"),
        ({"data": [5]}, "a.json: article 0: expected a JSON object as in SQuAD's files, found a number"),
        ({"data": [{"title": "x"}]}, "a.json: article 0: field 'paragraphs' is missing"),
        (squad(paragraphs=[{"qas": [{}]}]), "a.json: article 0 (Cats), paragraph 0: field 'context' is null"),
        (squad(paragraphs=[{"context": " ", "qas": [{}]}]), "paragraph 0: field 'context' is empty, expected text"),
        (squad(paragraphs=[{"context": "x", "qas": [5]}]), "paragraph 0: expected a JSON object as in SQuAD's files"),
        (squad(paragraphs=[{"context": "x"}]), "a.json: article 0 (Cats), paragraph 0: field 'qas' is missing"),
        (
            squad({"question": "Who?"}),
            "paragraph 0: a question's field 'id' is null, expected a string or a whole number",
        ),
        (squad(question(question="")), "a.json: question q1: field 'question' is empty, expected text"),
        (squad(question(question=None)), "a.json: question q1: field 'question' is null"),
        (squad(question(), question()), "a.json: question q1: the id appears more than once, expected unique ids"),
        (squad({"id": "q1", "question": "Who?"}), "a.json: question q1: field 'answers' is missing"),
        (squad(question(answers=[])), "a.json: question q1: no answer; expected an answer or, in v2.0, a true"),
        (squad(question(is_impossible=True)), "q1: 1 answer, although is_impossible is true"),
        (squad(question(answers=[], is_impossible=False)), "a.json: question q1: no answer"),
        (
            squad(question(is_impossible="false")),
            "a.json: question q1: field 'is_impossible' is a string, expected true",
        ),
        (squad(question(answers=["Zoë"])), "a.json: question q1: an answer: expected a JSON object"),
        (squad(question(answers=[{"text": "", "answer_start": 0}])), "an answer's field 'text' is empty"),
        (squad(question(answers=[{"text": "Zoë"}])), "q1: field 'answer_start' is null, expected the index of a"),
        (squad(question(answers=[{"text": "Zoë", "answer_start": "0"}])), "field 'answer_start' is a string"),
        (squad(question(answers=[{"text": "Zoë", "answer_start": True}])), "field 'answer_start' is a boolean"),
    ],
)
def test_files_that_are_not_squads(tmp_path: Path, content: object, message: str) -> None:
    assert message in refusal(lambda: read(tmp_path, content))


def test_bad_questions_are_left_out_and_named(tmp_path: Path) -> None:
    questions: list[Any] = [question("q0", question=""), question("q1"), 5, question(None), question("q1")]
    questions.append(question("q2", answers=[]))
    paragraphs = [{"context": CONTEXT, "qas": questions}, {"context": "", "qas": [question("q3")]}]
    path = write(tmp_path / "a.json", json.dumps(squad(paragraphs=paragraphs)))
    tally = Tally("skip")
    assert [x.id for x in read_squad(path, tally=tally).examples] == ["q1"]
    assert tally.bad == [
        f"{path}: question q0: field 'question' is empty, expected text",
        f"{path}: article 0 (Cats), paragraph 0: expected a JSON object as in SQuAD's files, found a number",
        f"{path}: article 0 (Cats), paragraph 0: a question's field 'id' is null, expected a string or a whole number",
        f"{path}: question q1: the id appears more than once, expected unique ids",
        f"{path}: question q2: no answer; expected an answer or, in v2.0, a true is_impossible and no answer",
        f"{path}: article 0 (Cats), paragraph 1: field 'context' is empty, expected text",
    ]


def test_reasons_stand_where_the_questions_stood(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", json.dumps(squad(question("q0"), question("q1", question=""), question("q2"))))
    tally = Tally("skip")
    found = [one if isinstance(one, str) else one.id for one in tally.interleaved(read_questions(path, tally=tally))]
    assert found == ["q0", f"{path}: question q1: field 'question' is empty, expected text", "q2"]


@pytest.mark.parametrize("content", ["", "{", '{"data": [}', "[" * 100_000, '{"data": [], "score": Infinity}'])
def test_files_that_are_no_json(tmp_path: Path, content: str) -> None:
    path = write(tmp_path / "a.json", content)
    assert "a.json: not readable as JSON (" in refusal(lambda: read_squad(path))


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", b'{\n"data": "\xe9"}')
    assert "a.json:2: not UTF-8 at byte 11" in refusal(lambda: read_squad(path))


# --- Real files ------------------------------------------------------------------------------------------------------


@needs_data
@pytest.mark.parametrize(
    ("name", "count", "impossible", "articles"),
    [("dev-v1.1", 10570, 0, 48), ("dev-v2.0", 11873, 5945, 35), ("train-v1.1-subset44", 11877, 0, 44)],
)
def test_squad(name: str, count: int, impossible: int, articles: int) -> None:
    found = read_squad(str(DATA / "squad" / f"{name}.json.gz"))
    assert found.version_2 == (impossible > 0)
    assert len(found.examples) == count
    assert sum(not x.answers for x in found.examples) == impossible
    assert len({x.title for x in found.examples}) == articles
    assert without_misplaced(found.examples) == (list(found.examples), "")
