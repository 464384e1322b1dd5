"""Words to pieces, long sentences to windows, and tags back on words."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from finetune.data.data_options import TagDataOptions
from finetune.data.sentences import given_sentences, read_sentences
from finetune.data.tags import WORD_SCHEMES
from finetune.tasks.token_classification import (
    NOT_SCORED,
    Tagged,
    TokenClassification,
    best_window,
    cutting_tags,
    window_bounds,
)
from minibert.files.tally import Tally
from minibert.tokenizer import Tokenizer
from tests.finetune.test_bad_input import write
from tests.helpers import refusal

LABELS = ("O", "B-A", "I-A")
SENTENCE = "The\tB-A\ncats\tI-A\n\ufe0f\tO\nbought\tO\nrunning\tB-A\nmilk\tI-A\n"


@pytest.fixture
def task(tokenizer: Tokenizer) -> TokenClassification:
    return TokenClassification(TagDataOptions(scheme="iob2", max_length=10, stride=3).fitted(64), tokenizer, LABELS)


@pytest.mark.parametrize(("length", "room", "stride"), [(0, 8, 3), (8, 8, 3), (9, 8, 3), (50, 8, 0), (50, 8, 7)])
def test_windows_cover_all_and_share_the_stride(length: int, room: int, stride: int) -> None:
    windows = window_bounds(length, room, stride)
    assert {token for start, end in windows for token in range(start, end)} == set(range(length))
    assert all(end - start == room for start, end in windows[:-1])
    assert all(one[1] - other[0] == stride for one, other in itertools.pairwise(windows))


def test_a_position_belongs_to_the_window_that_shows_the_most_around_it() -> None:
    windows = [(0, 8), (5, 13)]
    assert best_window(np.arange(13), windows).tolist() == [0] * 7 + [1] * 6
    assert best_window(np.array([6]), windows).tolist() == [0]  # one token after it there, one before it here: a tie


def test_every_word_with_a_piece_is_learned_once_on_its_first_piece(task: TokenClassification, tmp_path: Path) -> None:
    path = write(tmp_path / "x.conll", SENTENCE * 6)
    (example,) = read_sentences(str(path), TagDataOptions())
    features = task.features([example])
    assert len(features) > 2 and all(feature.length <= 10 for feature in features)
    learned = np.concatenate([feature.place[0] for feature in features])
    assert sorted(learned.tolist()) == [n for n, word in enumerate(example.words) if word != "\ufe0f"]
    for feature in features:
        words = [example.words[number] for number in feature.place[0]]
        firsts = [task.tokenizer.encode_plain([word])[0][0] for word in words]
        assert feature.sequences[0].ids[feature.place[1]].tolist() == firsts
    width = max(feature.length for feature in features)
    targets = task.targets(features, width)
    assert task.count(targets) == len(learned)
    assert set(targets.unique().tolist()) <= {NOT_SCORED, 0, 1, 2}


def test_tags_come_back_in_the_order_of_the_words_and_a_word_without_a_piece_is_outside(
    task: TokenClassification, tmp_path: Path
) -> None:
    path = write(tmp_path / "x.conll", SENTENCE * 4 + "\n" + SENTENCE)
    examples = list(read_sentences(str(path), TagDataOptions()))
    features = task.features(examples)
    logits = torch.zeros(len(features), max(feature.length for feature in features), 3)
    for row, feature in enumerate(features):
        logits[row, torch.from_numpy(feature.place[1]), torch.from_numpy(feature.target)] = 4.0
    predictions = task.predictions(examples, features, task.outputs(logits, features))
    assert [prediction.tags for prediction in predictions] == [example.tags for example in examples]
    assert task.metrics(examples, predictions)["f1"] == 1.0
    loss = task.loss_sum(logits, task.targets(features, logits.size(1)))
    assert float(loss) == pytest.approx(25 * -np.log(np.exp(4) / (np.exp(4) + 2)), rel=1e-5)

    answer = task.answer(examples[1], predictions[1])
    assert answer["text"] == "The cats \ufe0f bought running milk"
    assert [(entity["type"], entity["text"]) for entity in answer["entities"]] == [
        ("A", "The cats"),
        ("A", "running milk"),
    ]
    for entity in answer["entities"]:
        assert answer["text"][entity["start"] : entity["end"]] == entity["text"]


def test_a_sentence_without_any_piece_has_a_feature_and_no_loss(task: TokenClassification, tmp_path: Path) -> None:
    path = write(tmp_path / "x.conll", "\ufe0f\tO\n")
    examples = list(read_sentences(str(path), TagDataOptions()))
    (feature,) = task.features(examples)
    targets = task.targets([feature], feature.length)
    logits = torch.zeros(1, feature.length, 3, requires_grad=True)
    assert task.count(targets) == 0 and float(task.loss_sum(logits, targets).detach()) == 0.0
    (prediction,) = task.predictions(examples, [feature], task.outputs(logits, [feature]))
    assert prediction.tags == ("O",)
    classes = TokenClassification(TagDataOptions(scheme="none").fitted(64), task.tokenizer, ("ADJ", "DET", "NOUN"))
    (prediction,) = classes.predictions(examples, [feature], task.outputs(logits, [feature]))
    assert prediction.tags == ("_",)


def test_the_scheme_of_a_file_is_found_where_the_model_has_none(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """As of a tagger that was trained elsewhere: nothing is saved with it that says how its tags spell entities."""
    labels = ("O", "B-A", "I-A", "E-A", "S-A")
    task = TokenClassification(TagDataOptions().fitted(64), tokenizer, labels)
    path = write(tmp_path / "x.conll", "the\tS-A\ncats\tB-A\nran\tE-A\n")
    checked, _ = task.checked(list(read_sentences(str(path), TagDataOptions())), training=False)
    assert [example.tags for example in checked] == [("S-A", "B-A", "E-A")]


def test_a_tagger_of_parts_of_speech_is_scored_by_its_words(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """As of one that was trained elsewhere; the words of CoNLL-U are in its second column."""
    task = TokenClassification(TagDataOptions().fitted(64), tokenizer, ("ADJ", "DET", "NOUN"))
    rest = "_\t_\t0\troot\t_\t_\n"
    path = write(
        tmp_path / "x.conllu", f"1\tthe\tthe\tDET\t{rest}2\tcats\tcat\tNOUN\t{rest}3\tmilk\tmilk\tNOUN\t{rest}"
    )
    checked, _ = task.checked(list(read_sentences(str(path), task.data_options)), training=False)
    predictions = [Tagged(("DET", "NOUN", "ADJ"), (1.0, 1.0, 1.0))]
    assert task.metrics(checked, predictions) == {"accuracy": 2 / 3, "macro_f1": (0 + 1 + 2 / 3) / 3}
    assert [(one.name, one.f1, one.support) for one in task.figures(checked, predictions)] == [
        ("ADJ", 0.0, 0), ("DET", 1.0, 1), ("NOUN", 2 / 3, 2),
    ]  # fmt: skip
    assert task.metric(None) == "accuracy"
    assert "--metric: expected one of accuracy, macro_f1, found 'f1'" in refusal(lambda: task.metric("f1"))
    other = write(tmp_path / "y.conll", "the\tB-A\n")
    assert "y.conll:1: tag 'B-A' does not occur in the training data, which has ADJ, DET, NOUN" in refusal(
        lambda: task.checked(list(read_sentences(str(other), task.data_options)), training=False)
    )


def test_a_model_may_have_other_names_for_the_tags(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """One that was trained elsewhere as BILOU, and files of both."""
    task = TokenClassification(TagDataOptions().fitted(64), tokenizer, ("O", "B-A", "I-A", "L-A", "U-A"))
    for tags in ("U-A B-A L-A", "S-A B-A E-A"):
        path = write(tmp_path / "x.conll", "".join(f"milk\t{tag}\n" for tag in tags.split()))
        checked, _ = task.checked(list(read_sentences(str(path), TagDataOptions())), training=False)
        (feature,) = task.features(checked)
        assert feature.target.tolist() == [4, 1, 3]
        predictions = [Tagged(("U-A", "B-A", "L-A"), (1.0, 1.0, 1.0))]
        assert task.metrics(checked, predictions) == {"precision": 1.0, "recall": 1.0, "f1": 1.0}


@pytest.mark.parametrize("scheme", ["bmes", "bi"])
def test_the_tags_of_characters_are_the_likeliest_that_cut_the_text(scheme: str) -> None:
    """Against all sequences of tags, one by one; a space after the third character ends a word."""
    known, begins = WORD_SCHEMES[scheme], {"B", "S"}
    offsets = [(0, 1), (1, 2), (2, 3), (4, 5), (5, 6)]

    def is_possible(tags: tuple[str, ...]) -> bool:
        parts = ("^", *tags[:3], "$"), ("^", *tags[3:], "$")
        return all(one + other in known.pairs for part in parts for one, other in itertools.pairwise(part))

    possible = [tags for tags in itertools.product(known.tags, repeat=5) if is_possible(tags)]
    rng = np.random.default_rng(1)
    for _ in range(20):
        shares = rng.dirichlet(np.full(len(known.tags), 0.3), size=5).astype(np.float32)
        likeliest = max(
            possible,
            key=lambda tags: np.prod(
                [row[known.tags.index(tag)] for row, tag in zip(shares, tags, strict=True)], dtype=float
            ),
        )
        assert tuple(known.tags[tag] for tag in cutting_tags(shares, offsets, known)) == likeliest
        tags = [known.tags[tag] for tag in cutting_tags(shares, offsets, known, uncut={1, 4})]
        assert is_possible(tuple(tags)) and begins.isdisjoint((tags[1], tags[4]))


@pytest.mark.parametrize("scheme", ["bmes", "bi"])
def test_what_is_one_character_to_a_reader_is_in_one_word(scheme: Literal["bmes", "bi"], tokenizer: Tokenizer) -> None:
    tags = WORD_SCHEMES[scheme].tags
    task = TokenClassification(TagDataOptions(scheme=scheme).fitted(64), tokenizer, tags)
    words = ["a", "👍🏽", "👨\u200d👩\u200d👧", "🇨🇳", "🇫🇷", "e\u0301", "b"]
    examples = list(given_sentences(["".join(words)], task.data_options, Tally()))
    features = task.features(examples, labelled=False)
    cut = np.eye(len(tags), dtype=np.float32)[tags.index("S" if scheme == "bmes" else "B")] * 9
    (prediction,) = task.predictions(examples, features, [np.tile(cut, (len(one.place[0]), 1)) for one in features])
    assert task.answer(examples[0], prediction)["words"] == words
