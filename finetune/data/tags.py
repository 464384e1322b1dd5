"""Tag schemes: how the tags of words spell entities, and the entities that they spell.

IOB1 (Ramshaw & Marcus 1995): I- in an entity; B- only if it begins right after another of the same type. IOB2: B- at
the first word of every entity. BIOES: in addition, E- at its last word, and S- at its only word. BILOU has L- and U-
for these; BMES has M- for I-, and BMEWO also W- for S-: these are read too. A tag without a type ("B", "I") has the
type "": there may be just one kind of thing to find. Word segmentation is of this kind: its things are the words of a
text whose characters are tagged, and as every character belongs to a word, no tag is O.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from finetune.data.examples import TaggedExample
from minibert.errors import InputError

Scheme = Literal["iob2", "iob1", "bioes"]
OUTSIDE = "O"


class WordScheme(NamedTuple):
    """A scheme of word segmentation, which tags every character of a text."""

    tags: tuple[str, ...]
    spelled: Scheme  # the scheme that these tags belong to
    pairs: str  # which tag may follow which; ^ before the first, $ after the last


WORD_SCHEMES = {
    "bmes": WordScheme(tuple("BMES"), "bioes", "^B ^S BM BE MM ME EB ES SB SS E$ S$"),
    "bi": WordScheme(tuple("BI"), "iob2", "^B BB BI IB II B$ I$"),
}

# Scheme -> the prefixes of its tags other than O.
PREFIXES: dict[Scheme, str] = {"iob2": "BI", "iob1": "BI", "bioes": "BIES"}
# Prefixes of BILOU, BMES and BMEWO -> those of BIOES.
_OTHER_NAMES = {"L": "E", "U": "S", "M": "I", "W": "S"}


class Entity(NamedTuple):
    """An entity: its type, and its words [start, end) in the sentence."""

    type: str
    start: int
    end: int


def plain(tag: str) -> str:
    """Return a tag as BIOES names it: "L-per" -> "E-per"."""
    if tag[:1] in _OTHER_NAMES and tag[1:2] in ("", "-"):
        return _OTHER_NAMES[tag[0]] + tag[1:]
    return tag


def parts(tag: str) -> tuple[str, str]:
    """Return a tag's prefix, in BIOES, and type: "B-per" -> ("B", "per"), "U-per" -> ("S", "per"), "O" -> ("O", "").

    A tag of no scheme, such as NOUN from a model trained elsewhere, is a type as a whole and continues from word to
    word as with I-, as in transformers' pipelines.
    """
    if tag[1:2] == "-" or tag in (OUTSIDE, *PREFIXES["bioes"], *_OTHER_NAMES):
        return plain(tag)[:1], tag[2:]
    return "I", tag


def entities(tags: Sequence[str]) -> list[Entity]:
    """Return the entities that tags of any scheme spell, read leniently as conlleval and seqeval do; never refuse any.

    An entity begins at B- and S-, and at an I- or E- that continues nothing (after O, after E- or S-, after another
    type). So a model's predictions, which may be impossible, have a defined meaning, and a text scores the same in all
    schemes.
    """
    found: list[Entity] = []
    goes_on = False  # whether the next word may continue the last entity found
    for word, (prefix, kind) in enumerate(map(parts, tags)):
        if prefix == OUTSIDE:
            goes_on = False
            continue
        if goes_on and prefix in "IE" and found[-1].type == kind:
            found[-1] = found[-1]._replace(end=word + 1)
        else:
            found.append(Entity(kind, word, word + 1))
        goes_on = prefix in "BI"
    return found


def tags_of(found: Sequence[Entity], length: int, scheme: Scheme) -> list[str]:
    """Return the tags that spell these entities, given in the order of the words, in a sentence of `length` words."""
    tags = [OUTSIDE] * length
    ends = {(entity.end, entity.type) for entity in found}
    for entity in found:
        prefixes = ["I"] * (entity.end - entity.start)
        if scheme != "iob1" or (entity.start, entity.type) in ends:
            prefixes[0] = "B"
        if scheme == "bioes":
            prefixes[-1] = "S" if len(prefixes) == 1 else "E"
        tags[entity.start : entity.end] = [_tag(prefix, entity.type) for prefix in prefixes]
    return tags


def _tag(prefix: str, kind: str) -> str:
    return f"{prefix}-{kind}" if kind else prefix


def convert(tags: Sequence[str], scheme: Scheme) -> list[str]:
    """Return the tags of the same entities in another scheme; impossible tags are repaired as `entities` reads them."""
    return tags_of(entities(tags), len(tags), scheme)


# --- What a scheme allows --------------------------------------------------------------------------------------------


def is_tag(tag: str, scheme: Scheme = "bioes") -> bool:
    """Whether the scheme (by default any) has such a tag: O, or one of its prefixes, alone or as in "B-TYPE"."""
    if tag == OUTSIDE:
        return True
    tag = plain(tag)
    return tag[:1] in tuple(PREFIXES[scheme]) and (len(tag) == 1 or (tag[1] == "-" and len(tag) > 2))


def are_classes(examples: Sequence[TaggedExample], asked: str = "auto", *, fix: bool = False) -> bool:
    """Whether a file's tags are classes if it is left to the file ("auto"): some are of no scheme, such as NOUN, and
    none has a type after a prefix, as in "B-TYPE". Tags to be fixed mark entities."""
    tags = {tag for example in examples for tag in _tags(example)}
    typed = any(is_tag(tag) and len(tag) > 1 for tag in tags)
    return asked == "auto" and not (fix or typed or all(map(is_tag, tags)))


def first_impossible(tags: Sequence[str], scheme: Scheme) -> int | None:
    """Return the index of the first word whose tag the scheme does not allow there, or None.

    A scheme has one way to spell a sentence's entities: it allows tags that converting to it leaves unchanged. If an
    entity of BIOES does not end, the index is that of its last word.
    """
    mended = convert(tags, scheme)
    wrong = (word for word, tag in enumerate(tags) if plain(tag) != mended[word] or not is_tag(tag, scheme))
    return next(wrong, None)


def find_scheme(examples: Sequence[TaggedExample]) -> Scheme:
    """Return the scheme that allows all sentences, or else the most of them; IOB2 if there are no entities."""
    return min(PREFIXES, key=lambda scheme: sum(1 for _ in _impossible(examples, scheme)))


def check_tags(
    examples: Sequence[TaggedExample], asked: str = "auto", *, fix: bool = False
) -> tuple[list[TaggedExample], Scheme]:
    """Return the examples, with tags by their BIOES names that spell entities as the scheme requires; and the scheme,
    either the one asked for or the one found ("auto").

    With `fix`, impossible tags are read as conlleval reads them and written anew; a tag of no scheme is still refused.

    Raises InputError, naming file and row, if the scheme does not allow a tag where it is.
    """
    scheme: Any = find_scheme(examples) if asked == "auto" else asked
    checked = [replace(example, tags=tuple(map(plain, _tags(example)))) for example in examples]
    for index, word in _impossible(examples, scheme):
        example = examples[index]
        tags = _tags(example)
        unknown = next((number for number, tag in enumerate(tags) if not is_tag(tag)), None)
        if unknown is not None:
            raise InputError(_no_tag(examples, example, unknown))
        if not fix:
            raise InputError(_refusal(example, word, scheme, chosen=asked != "auto"))
        checked[index] = replace(example, tags=tuple(convert(tags, scheme)))
    return checked, scheme


def check_word_tags(examples: Sequence[TaggedExample], scheme: str, *, fix: bool = False) -> list[TaggedExample]:
    """Return the examples, whose tags cut texts into words as a scheme of `WORD_SCHEMES` does, by their BIOES names.

    Raises InputError, naming file and row, if a tag is not one of the scheme's, or, unless `fix`, where it can't be.
    """
    names, spelled, _ = WORD_SCHEMES[scheme]
    allowed = set(map(plain, names))
    for example in examples:
        for word, tag in enumerate(_tags(example)):
            if plain(tag) not in allowed:
                place, expected = _place(example, word), ", ".join(names)
                raise InputError(f"{place}: {tag!r:.60} is not a tag of --scheme {scheme}, expected {expected}")
            if len(example.words[word]) > 1:
                found = f"found {example.words[word]!r:.60}"
                raise InputError(
                    f"{_place(example, word)}: expected one character per row with --scheme {scheme}, {found}"
                )
    return check_tags(examples, spelled, fix=fix)[0]


def other_name(examples: Sequence[TaggedExample]) -> str:
    """Return the scheme's name if the prefixes are not those of BIOES ("BILOU", "BMES", "BMEWO"), otherwise ""."""
    prefixes = {tag[0] for example in examples for tag in _tags(example) if plain(tag) != tag}
    return "" if not prefixes else "BILOU" if prefixes <= set("LU") else "BMEWO" if "W" in prefixes else "BMES"


def _impossible(examples: Sequence[TaggedExample], scheme: Scheme) -> Iterator[tuple[int, int]]:
    """Yield (index of the sentence, index of its first word that the scheme does not allow) for each that has one."""
    for index, example in enumerate(examples):
        if (word := first_impossible(_tags(example), scheme)) is not None:
            yield index, word


def _tags(example: TaggedExample) -> tuple[str, ...]:
    assert example.tags is not None, "tags are read with the words"
    return example.tags


def _place(example: TaggedExample, word: int) -> str:
    """Return the place of a word, for messages."""
    row = example.row + word if example.rows is None else example.rows[word]
    return f"{example.where.rpartition(':')[0]}:{row}"


def _no_tag(examples: Sequence[TaggedExample], example: TaggedExample, word: int) -> str:
    """Return the message for a tag that no scheme has, which comes before that for a tag in the wrong place."""
    found = sorted({tag for other in examples for tag in _tags(other) if not is_tag(tag)})
    shown = ", ".join(found[:10]) + (", ..." if len(found) > 10 else "")
    return (
        f"{_place(example, word)}: {_tags(example)[word]!r:.60} is not a tag of any scheme (the file has {shown:.200}"
        "), expected O and, before a type, B- and I- (iob1, iob2), or also E- and S- (bioes, or its variants BILOU and "
        "BMES); use --tag-column to choose another column, or --scheme none to make each tag a class"
    )


def _refusal(example: TaggedExample, word: int, scheme: Scheme, *, chosen: bool) -> str:
    tags = _tags(example)
    place, tag = _place(example, word), tags[word]
    named = f"the scheme {scheme}" + ("" if chosen else ", which most sentences follow")
    if not is_tag(tag, scheme):
        prefixes = ", ".join(f"{prefix}-TYPE" for prefix in PREFIXES[scheme])
        return f"{place}: {tag!r} is not a tag of {named}, expected O, {prefixes}"
    before = repr(tags[word - 1]) if word else "the sentence's beginning"
    after = repr(tags[word + 1]) if word + 1 < len(tags) else "the sentence's end"
    expected = convert(tags, scheme)[word]
    return (
        f"{place}: the tag {tag!r} between {before} and {after} is impossible in {named}, expected {expected!r}; "
        "--fix-tags repairs it"
    )


# --- Tags as the classes of a model ----------------------------------------------------------------------------------


def tag_labels(examples: Sequence[TaggedExample], scheme: Scheme, path: str) -> tuple[str, ...]:
    """Return the classes of a tagger: O, then for each type in the training file, sorted, all prefixes of the scheme.

    All prefixes, so that dev may have I-x even if the entities in training were single words.

    Raises InputError if there is no entity at all.
    """
    kinds = sorted({entity.type for example in examples for entity in entities(_tags(example))})
    if not kinds:
        raise InputError(f"{path}: expected tags of entities, found only the tag O")
    return (OUTSIDE, *(_tag(prefix, kind) for kind in kinds for prefix in PREFIXES[scheme]))


MOST_CLASSES = 200  # parts of speech with all their features are some hundreds; lemmas are thousands


def tag_classes(examples: Sequence[TaggedExample], path: str, *, sure: bool = True) -> tuple[str, ...]:
    """Return the classes of a tagger whose tags spell no entities, such as parts of speech: those in training, sorted.

    Raises InputError if all tags are the same, or if there are so many that the column may be a wrong one; not if the
    user is `sure`.
    """
    found = sorted({tag for example in examples for tag in _tags(example)})
    if len(found) > MOST_CLASSES and not sure:
        raise InputError(
            f"{path}: found {len(found):,} different tags, from {found[0]!r:.60} to {found[-1]!r:.60}, expected tags "
            f"of a scheme or at most {MOST_CLASSES} classes; use --tag-column to choose another column, or --scheme "
            "none to make each tag a class"
        )
    if len(found) < 2:
        raise InputError(f"{path}: expected at least two different tags, found {', '.join(map(repr, found))}")
    return tuple(found)


def tag_ids(examples: Sequence[TaggedExample], labels: Sequence[str]) -> list[list[int]]:
    """Return the index of each word's tag. Raises InputError, naming file and row, if a tag is not among `labels`."""
    ids = {label: index for index, label in enumerate(labels)}
    for example in examples:
        for word, tag in enumerate(_tags(example)):
            if tag not in ids:
                raise InputError(
                    f"{_place(example, word)}: tag {tag!r} does not occur in the training data, which has "
                    f"{', '.join(labels[:40])}{', ...' if len(labels) > 40 else ''}"
                )
    return [[ids[tag] for tag in _tags(example)] for example in examples]
