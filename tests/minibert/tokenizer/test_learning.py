"""Learning a WordPiece vocabulary: what is learned, within which bounds, and that it is the same in every process."""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
from collections import Counter
from itertools import chain
from pathlib import Path

import pytest
import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from minibert.errors import InputError
from minibert.tokenizer import Tokenizer, learning
from minibert.tokenizer.vocabulary import Kind, Normalization, bert_normalizer

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WIKITEXT = Path(__file__).resolve().parents[3] / "shared" / "data" / "wikitext-2" / "train.txt.gz"


def tokens(tokenizer: Tokenizer) -> list[str]:
    return tokenizer.tokens(range(tokenizer.vocab_size))


def invented_text(words: int, letters: str, seed: int) -> list[str]:
    """Lines of words of random letters: nearly every count is a tie."""
    draw = random.Random(seed)
    made = ["".join(draw.choices(letters, k=draw.randint(2, 9))) for _ in range(words)]
    return [" ".join(made[i : i + 10]) for i in range(0, words, 10)]


# --- What is learned -------------------------------------------------------------------------------------------------


def test_a_vocabulary_by_hand() -> None:
    # Pairs: l+##o and ##o+##w 5 times each, n+##e 3; "lo" wins the tie, its pair having the lower ids (l stands before
    # ##o). Then lo+##w (5); n+##e before ##e+##w (3 each), ne+##w; ##e+##r before low+##e (2 each), low+##er.
    tokenizer = Tokenizer.train(["low low low", "lower lower", "new new new"], vocab_size=100)
    assert tokens(tokenizer) == [
        *SPECIALS,
        *["e", "l", "n", "o", "r", "w", "##e", "##o", "##r", "##w"],
        *["lo", "low", "ne", "new", "##er", "lower"],
    ]
    assert tokenizer.encode_plain(["lower new lowne"]) == [[20, 18, 1]]


@pytest.mark.parametrize("size", [60, 61, 100, 333])
def test_the_size_is_reached_exactly(size: int) -> None:
    assert Tokenizer.train(invented_text(3000, "abcdefgh", 1), vocab_size=size).vocab_size == size


def test_small_text_gives_a_smaller_vocabulary() -> None:
    assert tokens(Tokenizer.train(["ab"], vocab_size=1000)) == [*SPECIALS, "a", "b", "##b", "ab"]


def test_a_smaller_vocabulary_is_the_beginning_of_a_larger_one() -> None:
    text = invented_text(2000, "abcdef", 2)
    small, large = (tokens(Tokenizer.train(text, vocab_size=size)) for size in (50, 200))
    assert large[:50] == small


def test_options_decide_what_the_words_are() -> None:
    text = ["Café 中国"]
    assert "cafe" in tokens(Tokenizer.train(text, vocab_size=100))
    assert "café" in tokens(Tokenizer.train(text, vocab_size=100, strip_accents=False))
    cased = tokens(Tokenizer.train(text, vocab_size=100, lowercase=False))
    assert "Café" in cased
    assert "中国" not in cased
    assert "中国" in tokens(Tokenizer.train(text, vocab_size=100, chinese_chars=False))


def test_special_tokens_in_the_text_teach_nothing_special() -> None:
    tokenizer = Tokenizer.train(["[MASK] [PAD] mask"], vocab_size=200)
    assert tokens(tokenizer)[:5] == SPECIALS
    assert (tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id) == (
        0,
        1,
        2,
        3,
        4,
    )
    assert tokenizer.encode_plain(["mask"]) == [[tokenizer.token_to_id("mask")]]


# --- Within which bounds ---------------------------------------------------------------------------------------------


def test_chunks_between_spaces_give_the_words_of_the_whole_text() -> None:
    text = "It's  a\ttest,\r\na TEST:e\u0301\u00a0x\x1cy\u2028z 中国人\x85b \n.\n" * 3
    for lowercase in (True, False):
        normalizer, splitter = bert_normalizer(Normalization(lowercase, lowercase)), pre_tokenizers.BertPreTokenizer()
        words = splitter.pre_tokenize_str(normalizer.normalize_str(text + " it"))
        counts = learning._count_words([text, "it"], 1000, normalizer, splitter)
        assert counts == Counter(word for word, _ in words)


def test_a_word_too_long_to_be_encoded_teaches_nothing() -> None:
    assert tokens(Tokenizer.train(["a" * 101, "b" * 100], vocab_size=50))[5:7] == ["b", "##b"]


def test_many_words_are_cut_to_the_more_frequent_half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "CHUNKS_AT_ONCE", 1)
    texts = ["often often", "d c b a", "often e"]
    counts = learning._count_words(texts, 4, None, pre_tokenizers.WhitespaceSplit())
    assert counts == {"often": 3, "a": 1, "e": 1}


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_a_chunk_without_end_is_counted_in_parts(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "LONGEST_CHUNK", 4)
    found = [*learning._count_chunks(["ab abcdefghij a", "k"], as_written=kind == "bpe")]
    space = " " if kind == "bpe" else ""
    assert found == [Counter({"ab": 1, f"{space}abcd": 1, f"{space}efgh": 1, f"{space}ij": 1, f"{space}a": 1, "k": 1})]


def test_memory_is_bounded_but_frequent_words_are_learned() -> None:
    # 30,000 different words of digits, each seen once, round two that are frequent.
    texts = (f"{number * 7919} signal signals" for number in range(30_000))
    learned = tokens(Tokenizer.train(texts, vocab_size=60, max_words=1000))
    assert "signal" in learned
    assert "signals" in learned


def test_the_alphabet_has_a_thousand_characters_and_then_what_covers_the_text() -> None:
    ideographs = [chr(0x4E00 + i) for i in range(3000)]
    # The first 2,000 stand 10 times each, the others once.
    counts = Counter({c: 10 if i < 2000 else 1 for i, c in enumerate(ideographs)})
    kept = learning._choose_alphabet(counts, 10_000, inside_prefix="##")
    assert len(kept) == 2990  # 99.95 % of 21,000 occurrences are 20,989.5: all but ten of the rarest
    steep = Counter({c: 1_000_000 if i < 500 else 1 for i, c in enumerate(ideographs)})
    assert len(learning._choose_alphabet(steep, 10_000, inside_prefix="##")) == 1000
    assert learning._choose_alphabet(counts, 3, inside_prefix="##") == ideographs[:3]


def test_the_alphabet_gives_way_where_the_vocabulary_is_small() -> None:
    tokenizer = Tokenizer.train(["aaa aab abc"], vocab_size=9)
    assert tokens(tokenizer) == [*SPECIALS, "a", "b", "##a", "##b"]
    assert tokenizer.encode_plain(["aab abc"]) == [[5, 7, 8, 1]]


def test_more_words_than_the_library_takes_are_scaled_down(monkeypatch: pytest.MonkeyPatch) -> None:
    text = ["ab " * 9000 + "cd " * 6000 + "ef " * 3 + "g"]
    whole = tokens(Tokenizer.train(text, vocab_size=100))
    assert whole[-3:] == ["ab", "cd", "ef"]
    monkeypatch.setattr(learning, "WORDS_TO_LIBRARY", 100)
    # "ef" keeps no occurrence; its characters were chosen before and stay.
    assert tokens(Tokenizer.train(text, vocab_size=100)) == whole[:-1]


@pytest.mark.parametrize(
    ("texts", "size", "max_words", "message"),
    [
        (["a"], 5, 100, "vocab_size 5: expected more than the 5 special tokens"),
        (["a"], 100, 1, "max_words 1: expected at least 2"),
        ([], 100, 100, "expected words, found none"),
        (["", " \n"], 100, 100, "expected words, found none"),
        (["ok", "a\udc00"], 100, 100, "expected Unicode text, found a lone surrogate"),
    ],
)
def test_bad_input(texts: list[str], size: int, max_words: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Tokenizer.train(texts, vocab_size=size, max_words=max_words)


# --- The same in every process ---------------------------------------------------------------------------------------

LEARN = """
import sys
from minibert.tokenizer import Tokenizer
text, directory, size = sys.argv[1:]
Tokenizer.train(open(text, encoding="utf-8"), vocab_size=int(size)).save(directory)
"""


def learned_in_processes(text: Path, size: int, count: int) -> list[tuple[bytes, bytes]]:
    """vocab.txt and tokenizer.json of `count` processes with different hash seeds and numbers of threads."""
    outputs = []
    for seed in range(1, count + 1):
        directory = text.parent / f"learned{seed}"
        environment = os.environ | {"PYTHONHASHSEED": str(seed), "RAYON_NUM_THREADS": str(seed % 4 + 1)}
        command = [sys.executable, "-c", LEARN, str(text), str(directory), str(size)]
        subprocess.run(command, env=environment, check=True)
        outputs.append(((directory / "vocab.txt").read_bytes(), (directory / "tokenizer.json").read_bytes()))
    return outputs


def test_two_processes_learn_the_same_bytes_where_the_library_alone_does_not(tmp_path: Path) -> None:
    lines = invented_text(3000, "abcdefghij", 3)

    def pieces_of_library() -> frozenset[str]:
        plain = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
        plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=SPECIALS, show_progress=False)
        plain.train_from_iterator(lines, trainer)
        return frozenset(plain.get_vocab())

    # Its hash maps are seeded anew for every training: not even the set of pieces is the same.
    assert len({pieces_of_library() for _ in range(8)}) > 1

    (tmp_path / "text.txt").write_text("\n".join(lines), encoding="utf-8")
    first, second = learned_in_processes(tmp_path / "text.txt", 400, 2)
    assert first == second
    assert first[0].count(b"\n") == 400


def test_learning_again_and_again_gives_the_same() -> None:
    for seed, letters in enumerate(["ab", "abc", "abcdef", "abcdefghijkl"]):
        text = invented_text(1500, letters, seed)
        learned = [tokens(Tokenizer.train(text, vocab_size=900)) for _ in range(5)]
        assert all(each == learned[0] for each in learned)


def test_the_order_of_the_texts_does_not_matter() -> None:
    text = invented_text(2000, "abcdefg", 5)
    assert tokens(Tokenizer.train(text, vocab_size=300)) == tokens(Tokenizer.train(text[::-1], vocab_size=300))


LEARN_ALL = """
import hashlib, sys
from minibert.tokenizer import Tokenizer
for kind in ("bpe", "unigram"):
    tokenizer = Tokenizer.train(open(sys.argv[1], encoding="utf-8"), vocab_size=500, kind=kind)
    print(kind, tokenizer.vocab_size, tokenizer.fingerprint)
"""


def test_two_processes_learn_the_same_bytes_and_probabilities(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("\n".join(invented_text(3000, "abcdefghij", 3)), encoding="utf-8")
    outputs = []
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": seed, "TOKENIZERS_PARALLELISM": "true"}
        command = [sys.executable, "-c", LEARN_ALL, str(text)]
        outputs.append(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
    assert outputs[0] == outputs[1]
    assert [line.split()[:2] for line in outputs[0].splitlines()] == [["bpe", "500"], ["unigram", "500"]]


# --- Other kinds -----------------------------------------------------------------------------------------------------


def test_merges_by_hand() -> None:
    # A word has the space before it: "Ġl" of " low" 3 times, "lo" 4, "ow" 4, of which "lo" has the lower ids.
    tokenizer = Tokenizer.train(["low low low low"], vocab_size=300, kind="bpe")
    assert tokens(tokenizer)[:5] == ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    assert tokens(tokenizer)[261:] == ["lo", "low", "Ġlow"]
    assert tokenizer.encode_plain(["low lower  LOW"]) == [
        [262, 263, *map(tokenizer.token_to_id, ("e", "r", "Ġ", "Ġ", "L", "O", "W"))]
    ]


@pytest.mark.parametrize("size", [12, 14, 40, 333])
def test_probable_pieces_fill_the_size_exactly(size: int) -> None:
    learned = Tokenizer.train(invented_text(3000, "abcdefg", 1), vocab_size=size, kind="unigram")
    assert learned.vocab_size == size


def test_pieces_come_by_their_probability() -> None:
    text = invented_text(3000, "abc", 4)
    tokenizer = Tokenizer.train(text, vocab_size=40, kind="unigram")
    assert tokens(tokenizer)[:5] == ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]
    scores = json.loads(tokenizer._tokenizer.to_str())["model"]["vocab"]
    assert [score for _, score in scores[5:]] == sorted((score for _, score in scores[5:]), reverse=True)
    assert {"▁", "a", "b", "c"} <= set(tokens(tokenizer))


@pytest.mark.parametrize(
    ("kind", "size", "options", "message"),
    [
        ("bpe", 261, {}, "vocab_size 261: expected more than the 5 special tokens and the 256 bytes"),
        ("bpe", 300, {"lowercase": True}, "byte-level BPE keeps the text as it is: no lowercase"),
        ("unigram", 6, {}, "vocab_size 6: expected more than the 5 special tokens and ▁"),
        ("unigram", 7, {}, "vocab_size 7: too small to hold the characters of even one word"),
        ("unigram", 60, {"chinese_chars": True}, "chinese_chars: only a WordPiece vocabulary"),
    ],
)
def test_what_a_kind_cannot_do(kind: Kind, size: int, options: dict[str, bool], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Tokenizer.train(["the word"], vocab_size=size, kind=kind, **options)


@pytest.mark.slow
def test_eight_processes_learn_the_same_from_real_text(tmp_path: Path) -> None:
    if not WIKITEXT.is_file():
        pytest.skip(f"{WIKITEXT} is missing (shared data of the project's developers)")
    with gzip.open(WIKITEXT, "rt", encoding="utf-8") as lines:
        (tmp_path / "text.txt").write_text("".join(chain(lines)), encoding="utf-8")
    outputs = learned_in_processes(tmp_path / "text.txt", 8192, 8)
    assert all(output == outputs[0] for output in outputs)
    assert outputs[0][0].count(b"\n") == 8192
