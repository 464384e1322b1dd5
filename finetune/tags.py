"""Tag schemes: how the tags of words spell entities, and the entities that they spell.

IOB1 (Ramshaw & Marcus 1995): I- in an entity; B- only where one begins right after another of the same type. IOB2: B- at
the first word of every entity. BIOES: besides, E- at its last word, and S- at one that is alone. A tag without a type
("B", "I") is of the type "": there may be just one kind of thing to find.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from finetune.examples import TaggedExample

Scheme = Literal["iob1", "iob2", "bioes"]
SCHEMES: tuple[Scheme, ...] = ("iob2", "iob1", "bioes")
OUTSIDE = "O"


class Entity(NamedTuple):
    """Words [start, end) of a sentence are an entity of a type."""

    type: str
    start: int
    end: int


def entities(tags: Sequence[str]) -> list[Entity]:
    """The entities that tags of any scheme spell, read leniently as conlleval and seqeval do; never refuses.

    An entity begins at B- and S-, and at I- and E- that go on with nothing (after O, after E- or S-, after another
    type). So a model's predictions, which may be impossible, have a defined meaning, and a text scores the same in all
    schemes.
    """
    raise NotImplementedError


def tags_of(found: Sequence[Entity], length: int, scheme: Scheme) -> list[str]:
    """The tags that spell these entities in a sentence of `length` words; they must not overlap.

    Raises:
        ValueError: entities that overlap or reach over the sentence's end.
    """
    raise NotImplementedError


def convert(tags: Sequence[str], scheme: Scheme) -> list[str]:
    """The same entities in another scheme; what is impossible is mended on the way, as `entities` reads it."""
    return tags_of(entities(tags), len(tags), scheme)


def first_impossible(tags: Sequence[str], scheme: Scheme) -> int | None:
    """The index of the first word whose tag the scheme does not allow there; None where all is well."""
    raise NotImplementedError


def find_scheme(examples: Sequence[TaggedExample]) -> Scheme:
    """The scheme that allows all sentences, or else the one with the fewest impossible sentences; IOB2 in doubt."""
    raise NotImplementedError


def check_tags(examples: Sequence[TaggedExample], scheme: Scheme, *, fix: bool = False) -> list[TaggedExample]:
    """The examples, every one of which spells its entities as the scheme wants.

    With `fix`, what is impossible is read as conlleval reads it and written again; a tag that is none stays refused.

    Raises:
        InputError, naming file and row: a tag that the scheme does not allow there.
    """
    raise NotImplementedError


def tag_labels(examples: Sequence[TaggedExample], scheme: Scheme) -> tuple[str, ...]:
    """The classes of a tagger: O, then for each type of the training file, sorted, all prefixes of the scheme.

    All, so that a sentence in dev may use I-x where training had entities of one word only.

    Raises:
        InputError: there is no entity at all.
    """
    raise NotImplementedError


def tag_ids(examples: Sequence[TaggedExample], labels: Sequence[str]) -> list[list[int]]:
    """The index of each word's tag.

    Raises:
        InputError, naming file and row: a tag that is not among `labels`.
    """
    raise NotImplementedError
