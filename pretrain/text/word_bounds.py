"""Which pieces make one word if the script doesn't show it: Chinese, cut into words by a segmenter.

A Chinese vocabulary has single characters, and a masked one is easily predicted from the rest of its word. So the
characters of one word are masked together: Cui et al. 2019, "Pre-Training with Whole Word Masking for Chinese BERT"
(arXiv 1906.08101). The segmenter only decides what is masked together; the model still reads the tokenizer's pieces.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from minibert.errors import InputError
from minibert.tokenizer.vocabulary import UNSPACED

Segmenter = Literal["jieba"]
CutWords = Callable[[str], Iterator[tuple[int, int]]]  # text -> the [start, end) characters of each word


def word_cutter(segmenter: Segmenter) -> CutWords:
    """Return a function that cuts a text into words, leaving nothing out.

    Raises InputError if the segmenter is not installed.
    """
    try:
        import jieba
    except ImportError:
        raise InputError(
            f"--word-segmenter {segmenter} needs the optional dependency `zh`: pip install -e '.[zh]' in minibert's "
            "checkout"
        ) from None
    jieba.setLogLevel("ERROR")  # it reports how long its dictionary took to load
    return lambda text: ((start, end) for _, start, end in jieba.tokenize(text))


def goes_on(
    text: str, offsets: Sequence[tuple[int, int]], pieces_go_on: Sequence[bool], cut_words: CutWords
) -> list[bool]:
    """Return for each piece of `text` whether it continues the word of the piece before it.

    offsets: the [start, end) characters of each piece; pieces_go_on: what the pieces themselves say ("##ing"), which
    holds for words without a character of a script that has no spaces.
    """
    in_word: dict[int, bool] = {}
    for start, end in cut_words(text):
        if UNSPACED.search(text, start, end):
            in_word |= {place: place > start for place in range(start, end)}
            in_word[end] = False  # what follows is another word, even without a space before it
    found: list[bool] = []
    before = -1
    for (start, end), piece_goes_on in zip(offsets, pieces_go_on, strict=True):
        place = next((at for at in range(start, end) if not text[at].isspace()), start)
        # Two pieces begin at the same character if they are bytes of it, or if the first is only the mark of a word.
        found.append(in_word.get(place, piece_goes_on) or (place == before and place in in_word))
        before = place
    return found
