"""Published forms of questions with an answer in a passage, or with choices."""

from __future__ import annotations

import json
from typing import Any

from tests.finetune.data.forms import Count, Form, lines, questions


def asked(like: str, odd: str, file: str, content: object, count: Count | int = questions, **more: Any) -> Form:
    """content: what is to be written as JSON; text as it is."""
    found = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return Form(like, odd, "question-answering", file, found, count, **more)


def choice(like: str, odd: str, file: str, content: str, count: Count | int = 0, **more: Any) -> Form:
    return Form(like, odd, "multiple-choice", file, content, count, **more)


def qa(id: object, question: str, *answers: tuple[str, int], **more: Any) -> dict[str, Any]:
    found = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": id, "question": question, "answers": found, **more}


MILL = "The mill was built in 1710 by monks."
SQUAD_1 = {"version": "1.1", "data": [
    {"title": "Mills", "paragraphs": [
        {"context": MILL, "qas": [qa("57", "When?", ("1710", 22), ("in 1710", 19)), qa("58", "Who?", ("monks", 30))]},
        {"context": "It burnt.", "qas": [qa("59", "What did it do?", ("burnt", 3))]},
    ]},
]}  # fmt: skip
SQUAD_2 = {"version": "v2.0", "data": [
    {"title": "Mills", "paragraphs": [{"context": MILL, "qas": [
        qa("a0", "When?", ("1710", 22), is_impossible=False),
        qa("a1", "Who burnt it?", is_impossible=True, plausible_answers=[{"text": "monks", "answer_start": 30}]),
    ]}]},
]}  # fmt: skip
RIVER = "黄河长约五千公里。"
FLAT = '{"id": "57", "title": "Mills", "context": "Ann left.", "question": "Who left?", "answers": {"text": ["Ann"], '
FLAT += '"answer_start": [0]}}\n'

QUESTIONS = [
    asked(
        "SQuAD 1.1", "answers that overlap", "train-v1.1.json", SQUAD_1,
        first=("57", "When?", "1710", "in 1710"), last=("59", "What did it do?", "burnt"),
    ),
    asked(
        "SQuAD 2.0", "questions without an answer, plausible ones beside", "dev-v2.0.json.gz", SQUAD_2,
        first=("a0", "When?", "1710"), last=("a1", "Who burnt it?"),
    ),
    asked(
        "COVID-QA", "ids are numbers; a byte-order mark", "200423_covidQA.json",
        "\ufeff" + json.dumps({"data": [{"paragraphs": [
            {"context": MILL, "document_id": 630, "qas": [qa(262, "When?", ("1710", 22), is_impossible=False)]},
            {"context": MILL, "document_id": 631, "qas": [qa(263, "Who?", ("monks", 30), is_impossible=False)]},
        ]}]}),
        lambda text: questions(text.removeprefix("\ufeff")), first=(262, "When?", "1710"), last=(263, "Who?", "monks"),
    ),
    asked(
        "XQuAD", "characters of two UTF-16 units before the answer", "xquad.zh.json",
        {"version": "1.1", "data": [{"title": "河", "paragraphs": [
            {"context": "🌊" + RIVER, "qas": [qa("x1", "多长？", ("五千公里", 5))]},
            {"context": RIVER, "qas": [qa("x2", "什么河？", ("黄河", 0))]},
        ]}]},
        first=("x1", "多长？", "五千公里"), last=("x2", "什么河？", "黄河"),
    ),
    asked(
        "CMRC 2018", "an empty question among others", "cmrc_trial.json",
        {"version": "v1.0", "data": [{"title": "河", "paragraphs": [{"id": "T_0", "context": RIVER, "qas": [
            qa("T_0_Q_0", "多长？", ("五千公里", 4)), qa("T_0_Q_1", "", ("黄河", 0)),
            qa("T_0_Q_2", "哪条河？", ("黄河", 0)),
        ]}]}]},
        2,  # of three: that without words can't be asked
        refused="question T_0_Q_1: field 'question' is empty, expected text; --on-bad-row skip leaves such rows out",
        remedy="--on-bad-row skip", first=("T_0_Q_0", "多长？", "五千公里"), last=("T_0_Q_2", "哪条河？", "黄河"),
    ),
    asked(
        "CMRC 2018, its own form", "an array of passages, other names of fields", "cmrc2018_train.json",
        [{"context_id": "T_0", "context_text": RIVER, "title": "河", "qas": [
            {"query_id": "T_0_Q_0", "query_text": "多长？", "answers": ["五千公里"]},
        ]}],
        refused="cmrc2018_train.json: expected a JSON object as in SQuAD's files, found an array",
    ),
    asked(
        "DRCD", "ids also of articles and answers; one answer is not where it should be", "DRCD_training.json",
        {"version": "1.3", "data": [{"id": "1001", "paragraphs": [{"id": "1001-1", "context": RIVER, "qas": [
            qa("1001-1-1", "多長？", ("五千公里", 4)), qa("1001-1-2", "什麼河？", ("黄河", 3)),
            qa("1001-1-3", "誰？", ("河", 1)),
        ]}]}]},
        2,  # of three, to train on
        first=("1001-1-1", "多長？", "五千公里"), last=("1001-1-3", "誰？", "河"),
        said=("1 question left out of training:", "1001-1-2: the answer '黄河' should start at 3, but"),
    ),
    asked(
        "datasets' squad", "flat records, an object a line", "train.jsonl", FLAT + FLAT.replace("57", "58"),
        refused="train.jsonl: not readable as JSON (Extra data: line 2 column 1 (char 131)), expected SQuAD's format; "
        "docs/finetuning.md shows how to convert records that each have a context",
    ),
    asked(
        "transformers' run_qa", "flat records in data", "train.json", f'{{"data": [{FLAT}]}}',
        refused="train.json: article 0: field 'paragraphs' is missing, expected an array as in SQuAD's files; "
        "docs/finetuning.md shows how to convert records that each have a context",
    ),
    choice(
        "our own", "two choices and four", "train.jsonl",
        '{"id": 7, "question": "What turns?", "choices": ["a mill", "a stone"], "answer": 0}\n\n'
        '{"question": "Who?", "choices": ["Ann", "Bob", "Eve", "Ken"], "answer": 3}',
        lines(), first=("What turns?", "a mill", "a stone", 0), last=("Who?", "Ann", "Bob", "Eve", "Ken", 3),
    ),
    choice(
        "SWAG", "a table", "train.csv",
        ",video-id,startphrase,ending0,ending1,label\n0,v1,She turns and,waves.,melts.,0\n",
        refused="train.csv: .csv is not supported, expected .jsonl with a question, a list of choices, and, as the "
        "answer, the index of the right one, counted from 0",
    ),
    choice(
        "RACE", "several questions of one text in an object", "high.json",
        '{"answers": ["A"], "options": [["Oslo", "Rome"]], "questions": ["Where?"], "article": "...", "id": "1"}\n',
        refused="high.json:1: field 'question' is missing; the object has 'answers', 'options', 'questions', "
        "'article', 'id'; expected a question, a list of choices, and, as the answer, the index of the right one",
    ),
    choice(
        "DREAM", "one array of dialogues; examples/as_choices.py reads it", "train.json",
        '[\n  [["M: I am Bob."], [{"question": "Who?", "choice": ["Ann.", "Bob."], "answer": "Bob."}], "3"]\n]',
        refused="train.json:1: expected one JSON object per line",
    ),
    choice(
        "CODAH", "a table without a header; examples/as_choices.py reads it", "full_data.tsv",
        "o\tThe sky\tis red.\tsings.\tis blue.\tis loud.\t2\n",
        refused="full_data.tsv: .tsv is not supported, expected .jsonl with a question, a list of choices, and, as the "
        "answer, the index of the right one, counted from 0",
    ),
    choice(
        "CommonsenseQA", "choices with letters", "train.jsonl",
        '{"question": "Where?", "choices": {"label": ["A", "B"], "text": ["Oslo", "Rome"]}, "answer": "A"}\n',
        refused="field 'choices' is an object, expected a list of at least two strings",
    ),
    choice(
        "answers by letter", "A in place of 0", "train.jsonl",
        '{"question": "Where?", "choices": ["Oslo", "Rome"], "answer": "A"}\n',
        refused="field 'answer' is 'A', expected the index of a choice, counted from 0",
    ),
]  # fmt: skip
