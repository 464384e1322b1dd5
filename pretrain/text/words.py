"""How many words a text has: the measure in which corpora are compared, whatever the vocabulary."""

import re

from minibert.tokenizer.vocabulary import IDEOGRAPHS

_IDEOGRAPH = re.compile(f"[{IDEOGRAPHS}]")
_CHINESE_WORD = re.compile(rf"[{IDEOGRAPHS}]|[^\W{IDEOGRAPHS}]+")


def count_words(sentence: str) -> int:
    """Return the words between the single spaces of a sentence, as `wc -w` counts them.

    In one with ideographs, each ideograph is a word, and so is each run of other letters or digits between them.
    """
    if sentence.isascii() or not _IDEOGRAPH.search(sentence):
        return sentence.count(" ") + 1
    return sum(len(_CHINESE_WORD.findall(word)) if _IDEOGRAPH.search(word) else 1 for word in sentence.split(" "))
