"""`evaluate --predictions`: the figures of the answers in a file, whichever system gave them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from finetune.data.choices import read_choices
from finetune.data.conll import ends_sentence
from finetune.data.data_options import DataOptions, TagDataOptions, TextDataOptions
from finetune.data.examples import TaggedExample
from finetune.data.labels import find_labels, label_targets
from finetune.data.sentences import read_sentences
from finetune.data.squad import read_squad
from finetune.data.tags import are_classes, check_tags, check_word_tags, is_tag
from finetune.data.texts import read_texts, text_examples
from finetune.inference import note_all, show_figures
from finetune.inference_options import ScoreOptions
from finetune.scoring import metrics
from finetune.scoring.ranking import number_of, queries_in, ranking_metrics
from finetune.scoring.squad_scores import squad_scores
from finetune.scoring.tag_scores import TagKind, spans, tag_kind, tag_metrics
from minibert.errors import InputError, plural
from minibert.files import conllu, writing
from minibert.files.tables import JSON_FILES, Row
from minibert.files.tally import Tally
from minibert.files.text import json_type, parse_json, read_lines, read_whole, reason, shown, suffix

Figures = dict[str, Any]  # the number of examples, the metrics over all, and the figures of each class


def score_command(options: ScoreOptions) -> None:
    """Print the figures, and write them if asked to.

    Raises InputError if a file is not what it should be, or they don't belong together.
    """
    if options.json is not None:
        writing.check_writable(Path(options.json), reads=(options.data, options.predictions))
    task = options.data_options.task
    files = {"task": task, "data": options.data, "predictions": options.predictions}
    try:
        figures = SCORES[task](options.data, options.predictions, options.data_options)
    except InputError as error:
        if options.task is not None or suffix(options.data) not in JSON_FILES:
            raise
        raise InputError(f"{error}; scored as {task} (see --task)") from error  # any task may have such names
    show_figures(files | figures, options.json)


def _all_or_none(data: str) -> Tally:
    """Return the data's tally: a row that can't be read ends the scoring, as answers are matched by position."""
    return Tally("stop", data, remedy="rows can't be skipped here: fix this one, or remove it and its answer")


def _figures(count: int, means: dict[str, float], by_class: Sequence[metrics.ClassFigures] = ()) -> Figures:
    return {"examples": count, "metrics": means, "by_class": [figures._asdict() for figures in by_class]}


# --- Answers to questions --------------------------------------------------------------------------------------------


def score_questions(data: str, predictions: str, _: DataOptions) -> Figures:
    """Return SQuAD's exact match and F1. Questions without an answer in the file count as wrong and as `missing`."""
    questions, version_2 = read_squad(data, tally=_all_or_none(data))
    given = _answers_by_id(predictions)
    answers = {question.id: given[str(question.id)] for question in questions if str(question.id) in given}
    count, missing = len(questions), len(questions) - len(answers)
    if not answers:
        raise InputError(f"{shown(predictions)}: no answer to any of the questions in {data}")
    if missing:
        note_all(
            [
                f"{shown(predictions)}: no answer to {missing:,} of {plural(count, 'question')}; a missing answer "
                "counts as wrong"
            ]
        )
    if len(given) > len(answers):
        note_all([f"{shown(predictions)}: {plural(len(given) - len(answers), 'answer')} without a question in {data}"])
    return _figures(count, squad_scores(questions, answers, version_2=version_2)) | {"missing": missing}


def _answers_by_id(path: str) -> dict[str, str]:
    try:
        found = parse_json(read_whole(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{shown(path)}: not readable as JSON ({reason(error)}), expected {{id: answer}}") from error
    if not isinstance(found, dict):
        raise InputError(f"{shown(path)} is {json_type(found)}, expected an object that maps each id to an answer")
    for id, answer in found.items():
        if not isinstance(answer, str):
            raise InputError(f"{shown(path)}: the answer to {id:.60} is {json_type(answer)}, expected a string")
    return found


# --- Tags ------------------------------------------------------------------------------------------------------------


def score_tags(data: str, predictions: str, data_options: TagDataOptions) -> Figures:
    """Return the figures of whole entities, or of classes if the tags mark no entities. The file is CoNLL-U, or has
    each word's tag on a line, alone or in the last of several columns; blank lines between sentences don't count."""
    if data_options.cuts_words:
        return score_words(data, predictions, data_options)
    tally = _all_or_none(data)
    examples = list(read_sentences(data, data_options, tally=tally))
    classes = are_classes(examples, data_options.scheme, fix=data_options.fix_tags)
    kind = "classes" if classes else tag_kind(data_options)
    if kind == "entities":
        examples, _ = check_tags(examples, data_options.scheme, fix=data_options.fix_tags)
    given = _given_tags(predictions, kind, data_options)
    _check_count(len(given), predictions, sum(len(example.words) for example in examples), "words", data)
    note_all(tally.told)
    tags = iter(given)
    return _span_figures(kind, examples, [[next(tags) for _ in example.words] for example in examples])


def _given_tags(path: str, kind: TagKind, data_options: TagDataOptions) -> list[str]:
    """Return the tag of each word. Raises InputError, naming file and row, if one of an entity is of no scheme."""
    if suffix(path) == conllu.SUFFIX:
        return [tag for example in read_sentences(path, data_options) for tag in example.tags or ()]
    given = []
    for row, line in read_lines(path):
        if ends_sentence(line):
            continue
        given.append(line.split()[-1])
        if kind == "entities" and not is_tag(given[-1]):
            where = f"{shown(path)}:{row}"
            raise InputError(f"{where}: {given[-1]!r:.60} is not a tag of any scheme, expected one such as O or B-PER")
    return given


def score_words(data: str, predictions: str, data_options: TagDataOptions) -> Figures:
    """Return the figures of texts cut into words. Both files have words separated by spaces or columns."""
    examples, answers = (
        check_word_tags(
            list(read_sentences(path, data_options, tally=_all_or_none(path))),
            data_options.scheme,
            fix=data_options.fix_tags,
        )
        for path in (data, predictions)
    )
    _check_count(len(answers), predictions, len(examples), "sentences", data)
    for example, answer in zip(examples, answers, strict=True):
        if example.words != answer.words:
            raise InputError(f"{answer.where}: the text differs from that at {example.where}, expected the same")
    return _span_figures("words", examples, [answer.tags or () for answer in answers])


def _span_figures(kind: TagKind, examples: Sequence[TaggedExample], answers: Sequence[Sequence[str]]) -> Figures:
    golds = [spans(kind, example, example.tags or ()) for example in examples]
    found = [spans(kind, example, tags) for example, tags in zip(examples, answers, strict=True)]
    return _figures(len(examples), tag_metrics(kind, golds, found), metrics.entity_figures(golds, found))


# --- Classes, numbers and choices ------------------------------------------------------------------------------------


def score_texts(data: str, predictions: str, data_options: TextDataOptions) -> Figures:
    """Return the figures of a file with a class, several classes with commas between them, or a number per line. With a
    group column it is a number, the candidate's score."""
    examples = list(read_texts(data, data_options, tally=_all_or_none(data)))
    given = _one_a_line(predictions, len(examples), data)
    rows = (Row(row, where, ("-", text)) for row, (text, where) in enumerate(given, start=1))
    ranks = data_options.group_column is not None
    regression = data_options.regression or ranks
    alone = replace(data_options, text_pair_column=None, group_column=None, regression=regression)
    answers = list(text_examples(rows, alone, Tally(), labelled=True))
    ranking: dict[str, float] = {}
    if ranks:
        note_all([f"{data}: {queries_in(examples)}"])
        ranking = ranking_metrics(examples, list(map(number_of, answers)))
        if not data_options.regression:
            return _figures(len(examples), ranking)
    labels: tuple[str, ...] = ()
    if not data_options.regression:
        labels = find_labels([*examples, *answers], data)
        if unknown := sorted(set(labels) - set(find_labels(examples, data))):
            several = " or ".join(map(repr, unknown[:10]))
            note_all([f"{shown(predictions)}: no example in {data} has the class {several}"])
    kind = data_options.problem_type
    targets, found = (label_targets(some, labels, kind) for some in (examples, answers))
    by_class = metrics.text_figures(kind, targets, found, labels)
    return _figures(len(examples), metrics.text_metrics(kind, targets, found, len(labels)) | ranking, by_class)


def score_choices(data: str, predictions: str, _: DataOptions) -> Figures:
    """Return the accuracy of a file with the index of the choice, from 0, on each line."""
    examples = list(read_choices(data, tally=_all_or_none(data)))
    right = 0
    for (text, where), example in zip(_one_a_line(predictions, len(examples), data), examples, strict=True):
        if not text.isdecimal() or int(text) >= len(example.choices):
            raise InputError(
                f"{where}: {text!r:.60}, expected the index of a choice, from 0 to {len(example.choices) - 1}"
            )
        right += int(text) == example.answer
    return _figures(len(examples), {"accuracy": right / len(examples)})


def _one_a_line(path: str, expected: int, data: str) -> list[tuple[str, str]]:
    """Return (the answer, its file and row) for each example."""
    found = [(line.strip(), f"{shown(path)}:{row}") for row, line in read_lines(path)]
    _check_count(len(found), path, expected, "examples", data)
    return found


def _check_count(found: int, path: str, expected: int, what: str, data: str) -> None:
    if found != expected:
        raise InputError(
            f"{shown(path)}: {plural(found, 'answer')}, expected {expected:,}: one per line for each of the {what} in "
            f"{data}"
        )


SCORES: dict[str, Callable[[str, str, Any], Figures]] = {
    "text-classification": score_texts,
    "token-classification": score_tags,
    "question-answering": score_questions,
    "multiple-choice": score_choices,
}
