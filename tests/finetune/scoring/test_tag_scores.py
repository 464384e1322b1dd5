"""The figures of tags: words of a text as SIGHAN's bakeoffs score them, classes as scikit-learn does."""

from __future__ import annotations

import random

import pytest
import sklearn.metrics

from finetune.data.examples import TaggedExample
from finetune.data.sentences import cut_sentence
from finetune.data.tags import Entity
from finetune.scoring.tag_scores import spans, tag_metrics, words_of


def text(segmented: str, scheme: str = "bmes") -> TaggedExample:
    return cut_sentence(1, segmented, "gold.txt", scheme)


def sighan(gold: list[list[str]], found: list[list[str]], known: set[str]) -> dict[str, float]:
    """The rules of the bakeoffs' scorer, by places of words in the text (Sproat & Emerson 2003, section 4)."""

    def places(words: list[str]) -> set[tuple[int, str]]:
        return {(sum(map(len, words[:number])), word) for number, word in enumerate(words)}

    pairs = [(places(one), places(other)) for one, other in zip(gold, found, strict=True)]
    right = [word for one, other in pairs for _, word in one & other]
    recall, precision = len(right) / sum(map(len, gold)), len(right) / sum(map(len, found))
    new = [word for words in gold for word in words if word not in known]
    return {
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall),
        "oov_recall": sum(word not in known for word in right) / len(new),
    }


@pytest.mark.parametrize("scheme", ["bmes", "bi"])
def test_words_are_scored_by_the_rules_of_the_bakeoffs(scheme: str) -> None:
    rng = random.Random(3)

    def cut(characters: str) -> list[str]:
        return "".join(character + rng.choice(["", "", " "]) for character in characters).split()

    texts = ["".join(rng.choices("天地人你我他上下", k=rng.randint(1, 30))) for _ in range(200)]
    gold, found = [cut(text) for text in texts], [cut(text) for text in texts]
    known = {word for words in gold[:100] for word in words}
    examples, answers = ([text(" ".join(words), scheme) for words in some] for some in (gold, found))
    metrics = tag_metrics(
        "words",
        [spans("words", one, one.tags or (), known) for one in examples],
        [spans("words", one, other.tags or (), known) for one, other in zip(examples, answers, strict=True)],
    )
    assert metrics == pytest.approx(sighan(gold, found, known), abs=1e-12)


def test_words_come_back_from_their_tags() -> None:
    example = text("我 喜欢 北京大学 ！\n")
    assert (example.text, example.tags) == ("我喜欢北京大学！", tuple("SBEBIIES"))
    assert text("我 喜欢", "bi").tags == tuple("BBI")
    assert list(words_of(example)) == ["我", "喜欢", "北京大学", "！"]


def test_classes_are_scored_as_scikit_learn_scores_them() -> None:
    rng = random.Random(5)
    gold, found = (rng.choices("ABCDEFG", k=500) for _ in range(2))
    found = [rng.choice([one, other]) for one, other in zip(gold, found, strict=True)]
    read = [[Entity(tag, word, word + 1) for word, tag in enumerate(some)] for some in (gold, found)]
    assert tag_metrics("classes", *([one] for one in read)) == pytest.approx(
        {
            "accuracy": sklearn.metrics.accuracy_score(gold, found),
            "macro_f1": sklearn.metrics.f1_score(gold, found, average="macro"),
        },
        abs=1e-12,
    )
