"""What tags are scored by: the entities that they mark, the words that they cut a text into, or each tag by itself."""

from collections.abc import Collection, Iterator, Sequence
from statistics import fmean
from typing import Literal

from finetune.data.data_options import TagDataOptions
from finetune.data.examples import TaggedExample
from finetune.data.tags import Entity, entities
from finetune.scoring.metrics import entity_figures, entity_metrics

TagKind = Literal["entities", "words", "classes"]

# Types of words, by which they are scored: whether the word was trained on, if that is known.
KNOWN, NEW, ANY = "in training", "new", "words"


def tag_kind(data_options: TagDataOptions) -> TagKind:
    """Return what the tags of the chosen scheme are."""
    return "words" if data_options.cuts_words else "classes" if data_options.scheme == "none" else "entities"


def spans(kind: TagKind, example: TaggedExample, tags: Sequence[str], known: Collection[str] = ()) -> list[Entity]:
    """Return what the tags of a sentence mark: entities, words, or, for classes, each tag by itself.

    known: the words that were trained on; if there are any, a word's type is `KNOWN` or `NEW`, otherwise `ANY`.
    """
    if kind == "classes":
        return [Entity(tag, word, word + 1) for word, tag in enumerate(tags)]
    found = entities(tags)
    if kind == "entities":
        return found
    return [span._replace(type=_word_type(text_of(span, example), known)) for span in found]


def _word_type(word: str, known: Collection[str]) -> str:
    return (KNOWN if word in known else NEW) if known else ANY


def text_of(span: Entity, example: TaggedExample) -> str:
    """Return the characters of the text that a span covers."""
    return example.text[example.offsets[span.start][0] : example.offsets[span.end - 1][1]]


def words_of(example: TaggedExample) -> Iterator[str]:
    """Yield the words that a labelled text's tags cut it into."""
    return (text_of(word, example) for word in spans("words", example, example.tags or ()))


def tag_metrics(
    kind: TagKind, golds: Sequence[Sequence[Entity]], found: Sequence[Sequence[Entity]]
) -> dict[str, float]:
    """Return precision, recall and f1 of entities or words, and the recall of words that were not trained on
    (oov_recall, as SIGHAN's bakeoffs of word segmentation score it); of classes accuracy and macro_f1.

    golds, found: those of each sentence. The mean over classes leaves out those that neither occur nor are predicted.
    """
    metrics = entity_metrics(golds, found)
    by_type = {figures.name: figures for figures in entity_figures(golds, found)}
    if kind == "classes":
        return {"accuracy": metrics["recall"], "macro_f1": fmean(figures.f1 for figures in by_type.values())}
    if kind == "words" and by_type.keys() & {KNOWN, NEW}:
        return metrics | {"oov_recall": by_type[NEW].recall if NEW in by_type else 0.0}
    return metrics
