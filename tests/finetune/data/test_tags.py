"""Tags and the entities that they spell: in every scheme, and as seqeval reads them where they are impossible."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import IOB1, IOB2, IOBES, Entities

from finetune.data.examples import TaggedExample
from finetune.data.tags import (
    PREFIXES,
    Entity,
    Scheme,
    check_tags,
    convert,
    entities,
    find_scheme,
    first_impossible,
    other_name,
    tag_classes,
    tag_ids,
    tag_labels,
    tags_of,
)
from tests.helpers import refusal

# The same two persons side by side, a place that touches them, and a thing of one word, in all schemes.
FOUND = [Entity("per", 0, 2), Entity("per", 2, 3), Entity("loc", 3, 5), Entity("org", 6, 7)]
SPELLED: dict[Scheme, str] = {
    "iob1": "I-per I-per B-per I-loc I-loc O I-org",
    "iob2": "B-per I-per B-per B-loc I-loc O B-org",
    "bioes": "B-per E-per S-per B-loc E-loc O S-org",
}
SCHEMES = sorted(PREFIXES)


def tagged(*sentences: str) -> list[TaggedExample]:
    """Sentences of tags, one after the other in a file, a blank line between them."""
    examples, row = [], 1
    for sentence in sentences:
        tags = tuple(sentence.split())
        examples.append(TaggedExample(("word",) * len(tags), tags, row, f"train.conll:{row}"))
        row += len(tags) + 1
    return examples


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_text_has_the_same_entities_in_all_schemes(scheme: Scheme) -> None:
    assert entities(SPELLED[scheme].split()) == FOUND
    assert tags_of(FOUND, 7, scheme) == SPELLED[scheme].split()
    for other in PREFIXES:
        assert convert(SPELLED[other].split(), scheme) == SPELLED[scheme].split()


@given(st.lists(st.sampled_from(["", "a", "b"]).flatmap(lambda kind: st.tuples(st.just(kind), st.integers(1, 3)))))
def test_entities_come_back_from_every_scheme(spans: list[tuple[str, int]]) -> None:
    """Runs of words; those of the type "" stay outside."""
    found, length = [], 0
    for kind, words in spans:
        if kind:
            found.append(Entity(kind, length, length + words))
        length += words
    for scheme in PREFIXES:
        tags = tags_of(found, length, scheme)
        assert entities(tags) == found
        assert first_impossible(tags, scheme) is None


def test_tags_without_a_type_are_of_one_nameless_type() -> None:
    assert entities(list("BIOBB")) == [Entity("", 0, 2), Entity("", 3, 4), Entity("", 4, 5)]
    assert convert(list("BIOBB"), "bioes") == list("BEOSS")
    assert tag_labels(tagged("B I O"), "iob2", "train.conll") == ("O", "B", "I")


def test_labels_of_no_scheme_are_types_as_a_whole() -> None:
    """Of a model that was trained elsewhere, to tell parts of speech say; read as transformers' pipelines read them."""
    assert entities(["NOUN", "NOUN", "VERB", "O", "ORG", "LABEL_0", "X"]) == [
        Entity("NOUN", 0, 2), Entity("VERB", 2, 3), Entity("ORG", 4, 5), Entity("LABEL_0", 5, 6), Entity("X", 6, 7),
    ]  # fmt: skip


# --- Against seqeval -------------------------------------------------------------------------------------------------


def random_tags(rng: random.Random, prefixes: str) -> list[str]:
    kinds = ("per", "loc", "b-b")
    tags = ["O", "O", *(f"{prefix}-{kind}" for prefix in prefixes for kind in kinds)]
    return rng.choices(tags, k=rng.randrange(12))


@pytest.mark.parametrize("prefixes", ["BI", "BIES"])
def test_any_sequence_is_read_as_seqeval_reads_it(prefixes: str) -> None:
    """seqeval's default mode on 5,000 sequences, most of them impossible; there an entity's end is its last word."""
    rng = random.Random(3)
    count = 0
    for _ in range(5000):
        tags = random_tags(rng, prefixes)
        theirs = [Entity(kind, start, end + 1) for kind, start, end in get_entities(tags)]
        assert entities(tags) == theirs, tags
        count += len(theirs)
    assert count > 10_000


@pytest.mark.parametrize(("scheme", "strict"), [("iob1", IOB1), ("iob2", IOB2), ("bioes", IOBES)])
def test_what_a_scheme_allows_seqeval_reads_strictly_alike(scheme: Scheme, strict: type) -> None:
    rng = random.Random(4)
    allowed = 0
    for _ in range(20_000):
        tags = random_tags(rng, PREFIXES[scheme])[:4]
        if first_impossible(tags, scheme) is None:
            theirs = [entity.to_tuple()[1:] for entity in Entities([tags], strict).entities[0]]
            assert [tuple(entity) for entity in entities(tags)] == theirs, tags
            allowed += bool(theirs)
    assert allowed > 500


# --- Schemes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_scheme_is_found_out(scheme: Scheme) -> None:
    assert find_scheme(tagged("O O", SPELLED[scheme])) == scheme


def test_where_all_schemes_spell_it_alike_it_is_iob2() -> None:
    assert find_scheme(tagged("O O", "O")) == "iob2"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_slip_does_not_hide_the_scheme(scheme: Scheme) -> None:
    assert find_scheme(tagged(SPELLED[scheme], SPELLED[scheme], "O I-per B-per")) == scheme


@pytest.mark.parametrize(
    ("scheme", "tags", "word"),
    [
        ("iob2", "O I-per", 1),
        ("iob2", "B-per I-loc", 1),
        ("iob2", "B-per O I-per", 2),
        ("iob2", "B-per E-per", 1),
        ("iob1", "O B-per", 1),
        ("iob1", "B-per I-per", 0),
        ("iob1", "I-per B-loc", 1),
        ("bioes", "B-per O", 0),
        ("bioes", "B-per I-per", 1),
        ("bioes", "B-per I-per O", 1),
        ("bioes", "O I-per E-per", 1),
        ("bioes", "E-per", 0),
        ("bioes", "S-per E-per", 1),
        ("bioes", "B-per E-loc", 0),
        ("bioes", "B-per B-per E-per", 0),
        ("iob2", "O per", 1),
        ("iob2", "O B-", 1),
        ("iob2", "o", 0),
        ("iob2", "Bper", 0),
    ],
)
def test_the_first_word_that_is_impossible(scheme: Scheme, tags: str, word: int) -> None:
    assert first_impossible(tags.split(), scheme) == word


def test_an_impossible_sequence_is_refused_with_its_row() -> None:
    examples = tagged("B-per I-per", "O O I-loc")
    message = refusal(lambda: check_tags(examples, find_scheme(examples)))
    assert message == (
        "train.conll:6: the tag 'I-loc' between 'O' and the sentence's end is impossible in the scheme iob2, expected "
        "'B-loc'; --fix-tags repairs it"
    )
    message = refusal(lambda: check_tags(tagged("B-per O"), "bioes"))
    assert "train.conll:1: the tag 'B-per' between the sentence's beginning and 'O' is impossible" in message


@pytest.mark.parametrize(
    ("scheme", "sentence", "message"),
    [
        (
            "iob2",
            "O NOUN",
            "train.conll:2: 'NOUN' is not a tag of any scheme (the file has NOUN), expected O and, before a type,",
        ),
        ("bioes", "I-x Q-x X", "train.conll:2: 'Q-x' is not a tag of any scheme (the file has Q-x, X), expected O"),
        ("iob2", "I-x Bx", "train.conll:2: 'Bx' is not a tag of any scheme"),
    ],
)
@pytest.mark.parametrize("fix", [False, True])
def test_what_is_no_tag_is_refused_and_not_mended(scheme: Scheme, sentence: str, message: str, fix: bool) -> None:
    assert message in refusal(lambda: check_tags(tagged(sentence), scheme, fix=fix))


@pytest.mark.parametrize(
    ("scheme", "tags", "mended"),
    [
        ("iob2", "O I-per I-per B-loc I-per", "O B-per I-per B-loc B-per"),
        ("iob1", "B-per I-per O B-loc", "I-per I-per O I-loc"),
        ("bioes", "B-per O I-loc I-loc E-per", "S-per O B-loc E-loc S-per"),
        ("iob2", "S-per I-per", "B-per B-per"),
    ],
)
def test_fixing_mends_as_conlleval_reads(scheme: Scheme, tags: str, mended: str) -> None:
    good = SPELLED[scheme]
    checked, _ = check_tags(tagged(good, tags, good), scheme, fix=True)
    assert [" ".join(example.tags or ()) for example in checked] == [good, mended, good]
    assert entities(mended.split()) == entities(tags.split())
    assert [example.row for example in checked] == [example.row for example in tagged(good, tags, good)]


# The same in the names of other schemes.
OTHER_NAMES = {
    "BILOU": "B-per L-per U-per B-loc L-loc O U-org",
    "BMES": "B-per E-per S-per B-loc E-loc O S-org O B-per M-per E-per",
    "BMEWO": "B-per E-per W-per B-loc E-loc O W-org O B-per M-per E-per",
}


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_bioes_has_other_names(name: str) -> None:
    tags = OTHER_NAMES[name]
    examples = tagged(tags, "O O")
    plain = SPELLED["bioes"] + ("" if name == "BILOU" else " O B-per I-per E-per")
    assert entities(tags.split())[:4] == FOUND
    assert find_scheme(examples) == "bioes"
    checked, _ = check_tags(examples, "bioes")
    assert [" ".join(example.tags or ()) for example in checked] == [plain, "O O"]
    assert tag_labels(checked, "bioes", "train.conll") == tag_labels(tagged(plain), "bioes", "train.conll")
    assert (other_name(examples), other_name(checked)) == (name, "")


def test_words_of_chinese_texts_are_told_by_letters_alone() -> None:
    (example,), _ = check_tags(tagged("B M E S"), "bioes")
    assert example.tags == ("B", "I", "E", "S")


def test_what_is_impossible_under_another_name() -> None:
    message = refusal(lambda: check_tags(tagged("B-per U-per"), "bioes"))
    assert "train.conll:1: the tag 'B-per' between the sentence's beginning and 'U-per' is impossible" in message
    message = refusal(lambda: check_tags(tagged("U-per"), "iob2"))
    assert "train.conll:1: 'U-per' is not a tag of the scheme iob2, expected O, B-TYPE, I-TYPE" in message


def test_a_scheme_that_nobody_chose_is_said_to_be_found() -> None:
    examples = tagged("B-per I-per", "O E-loc")
    message = refusal(lambda: check_tags(examples))
    assert "train.conll:5: 'E-loc' is not a tag of the scheme iob2, which most sentences follow, expected O" in message


# --- Classes ---------------------------------------------------------------------------------------------------------


def test_classes_are_all_tags_of_all_types() -> None:
    examples = tagged("B-per", "O B-loc I-loc")
    assert tag_labels(examples, "iob2", "train.conll") == ("O", "B-loc", "I-loc", "B-per", "I-per")
    assert tag_labels(examples, "bioes", "train.conll")[:5] == ("O", "B-loc", "I-loc", "E-loc", "S-loc")
    assert tag_ids(examples, tag_labels(examples, "iob2", "train.conll")) == [[3], [0, 1, 2]]


def test_no_entity_at_all_cannot_be_learned() -> None:
    message = refusal(lambda: tag_labels(tagged("O O"), "iob2", "train.conll"))
    assert message == "train.conll: expected tags of entities, found only the tag O"


def test_tags_that_spell_no_entities_are_the_classes() -> None:
    assert tag_classes(tagged("NOUN VERB", "NOUN O L-x"), "train.conll") == ("L-x", "NOUN", "O", "VERB")
    message = refusal(lambda: tag_classes(tagged("NOUN NOUN"), "train.conll"))
    assert message == "train.conll: expected at least two different tags, found 'NOUN'"


def test_a_word_may_stand_in_another_row_than_its_number_says() -> None:
    example = TaggedExample(("a", "b"), ("O", "Q-x"), 3, "train.conllu:3", rows=(3, 5))
    assert "train.conllu:5: 'Q-x' is not a tag of any scheme" in refusal(lambda: check_tags([example], "iob2"))


def test_a_type_that_training_never_had() -> None:
    labels: Sequence[str] = tag_labels(tagged("B-per I-per"), "iob2", "train.conll")
    message = refusal(lambda: tag_ids(tagged("B-per", "O B-loc"), labels))
    assert message == "train.conll:4: tag 'B-loc' does not occur in the training data, which has O, B-per, I-per"
