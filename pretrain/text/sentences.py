"""Text -> sentences, for English and Chinese: one regular expression finds where a sentence may end, one loop decides.

Nothing is lost and nothing moves: joined, the sentences are the text, apart from white space.
"""

import re

# Ideographs, kana, their punctuation and the full-width forms: scripts that put no space between words. (Hangul does.)
_CJK = "\u2e80-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
_CLOSERS = "\"'”’)\\]}»`"
_CJK_CLOSERS = "”’」』）】》〉］)\\]"
_OPENERS = "\"'“‘([{«`*_-–—"

# A place where a sentence may end: a run of terminators and the closing quotes and brackets after it. Runs (++) don't
# backtrack, and a run that ends nothing is skipped as a whole: a million full stops are read once.
_CANDIDATE = re.compile(
    rf"[.!?…]++[{_CLOSERS}]*+(?= )"  # English: a space has to follow
    rf"|[。！？；｡][。！？；｡!?…]*[{_CJK_CLOSERS}]*"  # Chinese: nothing has to follow
    rf"|(?<=[{_CJK}])[!?…]++[{_CJK_CLOSERS}]*(?=[{_CJK}“])"  # Chinese with half-width marks, or ……
    rf"|(?P<none>[.!?…]++[{_CLOSERS}]*+)"
)
# U+3000 is white space among the Chinese marks: a run of it is looked at once, from its beginning.
_LINE_BREAK_BETWEEN_CJK = re.compile(rf"(?<=[{_CJK}])(?<!\s)[^\S\n]*+\n\s*+(?=[{_CJK}])")
_DOTTED = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]")  # U.S  a.m  Ph.D is close enough: see _PERHAPS_LAST
_ITEM_NUMBER = re.compile(r"\d{1,3}|[a-zA-Z]")  # the "1" or "a" of "1. First item"
_WORD = re.compile(r"[^\W\d_]+")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# A full stop after these never ends a sentence: something always follows them.
_NEVER_LAST = _words(
    "mr mrs ms dr prof st rev hon gen col lt sgt capt messrs vs cf viz e.g i.e eg ie fig figs eq eqs sec vol pp ed eds"
    " resp approx"
)
# Before a number these are abbreviations: "No. 5", but also "He said no. Then ...".
_BEFORE_NUMBER = _words("no nos art ch p")
# After these, as after U.S. or the initial in J. Smith, a sentence ends only where the next word often begins one.
_PERHAPS_LAST = _words("etc al inc ltd co corp jr sr dept est ph.d jan feb mar apr jun jul aug sep sept oct nov dec")
_STARTERS = _words(
    "a an the this that these those it its he she they we you i in on at if when while for from as but and or so then"
    " there here however therefore otherwise note see by to with all each some both his her their our what how why"
    " after before since because although unlike only use not no one"
)


def split_sentences(text: str) -> list[str]:
    """Split one paragraph into its sentences, white space folded, none empty.

    A line break between two Chinese characters comes from wrapping and is removed; other white space becomes one space.
    """
    text = fold(_LINE_BREAK_BETWEEN_CJK.sub("", text))
    sentences = []
    start = 0
    for match in _CANDIDATE.finditer(text):
        end = _sentence_end(text, start, match)
        if end is not None:
            sentences.append(text[start:end].strip())
            start = end
    sentences.append(text[start:].strip())
    return [sentence for sentence in sentences if sentence]


def fold(text: str) -> str:
    """Return the text with every run of white space as one space, and none at the ends."""
    return " ".join(text.split())


def _sentence_end(text: str, start: int, match: re.Match[str]) -> int | None:
    """Return where the sentence that began at `start` ends, if it ends at this match; otherwise None."""
    end = match.end()
    if match["none"] is not None:
        return None
    if match.group()[0] in "。！？；｡":
        # A straight quote looks the same on both sides: it closes if this sentence has opened one.
        quote = text[end : end + 1]
        closes = quote in ('"', "'") and text.count(quote, start, end) % 2 == 1
        return end + 1 if closes else end
    if not text.startswith(" ", end):
        return end  # a half-width mark between Chinese characters
    following = text[end + 1 : end + 40].lstrip(_OPENERS)
    if not following or following[0].islower():
        return None
    if match.group().startswith(".") and match.group()[1:2] != "." and _is_abbreviation(text, start, match, following):
        return None
    return end


def _is_abbreviation(text: str, start: int, match: re.Match[str], following: str) -> bool:
    """Return whether the full stop at `match` belongs to the last word of the sentence that began at `start`, judging
    by that word and the next alone: the sentence may have a million such words."""
    stop = match.start() + match.group().rindex(".")
    is_last = stop == match.end() - 1
    stop -= text.endswith(" ", start, stop)
    begin = text.rfind(" ", start, stop) + 1 or start
    word = text[begin:stop].lstrip(_OPENERS)
    if not word:
        return False
    lowered = word.lower()
    if is_last and lowered in _NEVER_LAST:
        return True
    if lowered in _BEFORE_NUMBER:
        return following[0].isdigit()
    if begin <= start + 1 and _ITEM_NUMBER.fullmatch(word):
        return True
    is_initial = len(word) == 1 and word.isupper()
    if is_initial or lowered in _PERHAPS_LAST or _DOTTED.fullmatch(word):
        next_word = _WORD.match(following)
        return next_word is None or next_word.group().lower() not in _STARTERS
    return False
