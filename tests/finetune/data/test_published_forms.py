r"""Files in the forms that published data sets have: read right, or refused with a remedy that then helps.

The sets are others', the rows are our own. Each form has the bytes of a file, the options that it is read with, and
what comes out: how many examples, the first and the last, from training's reading and again from predict's. The count
is taken once more by other means than our readers: Python's csv and json, blocks between blank lines, or by hand.
`python -m tests.finetune.data.test_published_forms` shows all of it as a table.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from finetune.data.examples import ChoiceExample, QuestionExample, TaggedExample, TextExample
from finetune.data.reading import read_examples
from finetune.data.tally import Tally
from finetune.options import parse_options
from finetune.setup import TrainingData, prepare
from minibert.errors import InputError
from tests.finetune.files import write
from tests.finetune.running import write_model
from tests.helpers import refusal

Count = Callable[[str], int]


@dataclass(frozen=True)
class Form:
    """A file as a published set has it, and what we make of it."""

    like: str  # the set that has this form
    odd: str  # what is odd about it
    task: str
    file: str  # its name, by which some of it is decided
    content: str | bytes
    count: Count | int = 0  # by other means than our readers; of what is refused, once the remedy is followed
    first: tuple[Any, ...] = ()
    last: tuple[Any, ...] = ()
    options: str = ""
    said: tuple[str, ...] = ()  # parts of what the user is told
    refused: str = ""  # part of what is said where the file is refused; "" where it is read at once
    remedy: str | None = None  # further options; "": the message's command; None: the file must become another

    @property
    def id(self) -> str:
        """How pytest names it."""
        return f"{self.task.split('-')[0]} {self.like}"

    @property
    def converted(self) -> bool:
        """Whether the message has a command that makes a readable file."""
        return self.remedy == ""


# --- Counting by other means ------------------------------------------------------------------------------------------


def csv_rows(delimiter: str = ",", *, header: bool = True, **more: Any) -> Count:
    """Python's csv."""
    return lambda text: sum(map(bool, csv.reader(io.StringIO(text, ""), delimiter=delimiter, **more))) - header


def lines(*, header: bool = False) -> Count:
    """Lines with something in them."""
    return lambda text: len(re.findall(r"^.*\S.*$", text, re.MULTILINE)) - header


def tsv_rows(*, header: bool = True) -> Count:
    """Python's csv, told that marks mean nothing."""
    return csv_rows("\t", header=header, quoting=csv.QUOTE_NONE)


def blocks(text: str) -> int:
    """What stands between blank lines, and has lines with a tag at the end."""
    found = re.split(r"\n[ \t\r]*\n", text.replace("\r", ""))
    return sum(bool(re.search(r"^(?!-DOCSTART-|#)\S.*\S$", block.strip(), re.MULTILINE)) for block in found)


def questions(text: str) -> int:
    """Python's json, and its own walk through it."""

    def walk(value: Any) -> int:
        if isinstance(value, dict):
            return ("question" in value) + sum(map(walk, value.values()))
        return sum(map(walk, value)) if isinstance(value, list) else 0

    return walk(json.loads(text))


# --- Texts ------------------------------------------------------------------------------------------------------------


def text(like: str, odd: str, file: str, content: str | bytes, count: Count | int = 0, **more: Any) -> Form:
    return Form(like, odd, "text-classification", file, content, count, **more)


LONG = "word " * 19_999 + "end"  # 20,000 words

TEXTS = [
    text(
        "CoLA", "no header, four columns, no final newline", "train.tsv",
        "bk01\t1\t\tThe boat was sunk by them.\n"
        "bk01\t0\t*\tThe boat was sunk it by them.\n"
        'bk02\t1\t\tShe "knows" it, "they say.\n'
        "bk02\t0\t*\tKnows she it who",
        lines(), options="--no-header --text-column 4 --label-column 2",
        first=("The boat was sunk by them.", "1"), last=("Knows she it who", "0"),
        said=("labels: 0 (2), 1 (2)", "4 rows in 4 lines"),
    ),
    text(
        "SST-2", "a header; texts end with a space", "train.tsv",
        "sentence\tlabel\nfull of quiet warmth \t1\na long , dull evening \t0\n",
        tsv_rows(), options="--text-column sentence",
        first=("full of quiet warmth ", "1"), last=("a long , dull evening ", "0"),
    ),
    text(
        "MRPC", "byte-order mark, CRLF, names with # and spaces, marks that never close", "msr_train.txt.tsv",
        "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n"
        '1\t11\t12\t"We will win, he said.\tHe said they would win.\r\n'
        '0\t13\t14\tShares fell 2%.\tThe "fund closed.\r\n'
        '1\t15\t16\tIt rained.\tRain fell."\r\n',
        tsv_rows(), options="--text-column '#1 String' --text-pair-column '#2 String' --label-column Quality",
        first=('"We will win, he said.', "He said they would win.", "1"), last=("It rained.", 'Rain fell."', "1"),
        said=("3 rows in 3 lines",),
    ),
    text(
        "STS-B of GLUE", "ten columns, a score", "train.tsv",
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
        "0\tmain\tMS\t2012\t1\tnone\tnone\tA dog runs.\tA dog is running.\t5.000\n"
        '1\tmain\tMS\t2012\t4\tnone\tnone\tA man eats.\t"A man" sleeps.\t0.75\n',
        tsv_rows(),
        options="--text-column sentence1 --text-pair-column sentence2 --label-column score --regression",
        first=("A dog runs.", "A dog is running.", 5.0), last=("A man eats.", '"A man" sleeps.', 0.75),
    ),
    text(
        "STS benchmark", "tabs in .csv, no header, some rows with two more fields", "sts-train.csv",
        "main\tMS\t2012\t1\t5.000\tA dog runs.\tA dog is running.\n"
        'main\tMS\t2012\t4\t0.750\tA man eats.\t"A man" sleeps.\tsource one\tsource two\n',
        lines(),
        options=r"--delimiter \t --no-header --text-column 6 --text-pair-column 7 --label-column 5 --regression",
        first=("A dog runs.", "A dog is running.", 5.0), last=("A man eats.", '"A man" sleeps.', 0.75),
        said=("rows have 7 to 9 fields, so a text that contains the delimiter may be cut there",),
    ),
    text(
        "STS benchmark, by its name", "tabs in .csv, nobody said so", "sts-dev.csv",
        "score\ttext\n4.0\tA dog, running.\n1.5\tA man.\n",
        tsv_rows(), options="--label-column score --regression",
        refused=r"has 'score\ttext'; use --delimiter '\t' to split it into columns", remedy=r"--delimiter \t",
        first=("A dog, running.", 4.0), last=("A man.", 1.5),
    ),
    text(
        "QNLI", "an index, classes are words", "dev.tsv",
        "index\tquestion\tsentence\tlabel\n"
        "0\tWho built the mill?\tThe mill was built by monks.\tentailment\n"
        "1\tWhere is it?\tIt has \"two wheels\".\tnot_entailment\n",
        tsv_rows(), options="--text-column question --text-pair-column sentence",
        first=("Who built the mill?", "The mill was built by monks.", "entailment"),
        last=("Where is it?", 'It has "two wheels".', "not_entailment"),
    ),
    text(
        "AG News", "no header, every field in marks, a backslash for a line end", "train.csv",
        '"3","Oil falls again","Prices fell on Friday, and\\will fall."\n'
        '"4","A ""smart"" lamp","It talks, it ""listens"", it glows."\n'
        '"3","Rates","They stay."\n',
        csv_rows(header=False), options="--no-header --text-column 3 --label-column 1",
        first=("Prices fell on Friday, and\\will fall.", "3"), last=("They stay.", "3"),
    ),
    text(
        "AG News, no option", "the first row is taken for a header", "test.csv",
        '"3","Oil falls again","Prices fell."\n"4","A lamp","It talks."\n',
        csv_rows(header=False),
        refused="the header has '3', 'Oil falls again', 'Prices fell.'; see --text-column and --label-column, or "
        "--no-header if that is not a header",
        remedy="--no-header --text-column 3 --label-column 1",
        first=("Prices fell.", "3"), last=("It talks.", "4"),
    ),
    text(
        "a table by hand", "no header, no marks around commas", "comments.csv",
        "1,Fine\n0,Bad, very bad\n1,Good\n",
        3, options="--no-header --text-column 2 --label-column 1",
        first=("Fine", "1"), last=("Good", "1"),
        said=("rows have 2 to 3 fields, so a text that contains the delimiter may be cut there",),
    ),
    text(
        "IMDB", "texts with line ends, blank lines, commas and marks", "imdb.csv",
        'review,sentiment\n"A film, he said, ""like no other"".<br /><br />\nIt is.\n\nGo.",positive\n'
        "Dull from begin to end,negative\n"
        '"Two\r\nlines",positive\n',
        csv_rows(), options="--text-column review --label-column sentiment",
        first=('A film, he said, "like no other".<br /><br />\nIt is.\n\nGo.', "positive"),
        last=("Two\r\nlines", "positive"), said=("3 rows in 7 lines; 2 field(s) span several lines",),
    ),
    text(
        "Yelp", r"no header, \n and \"\" inside marks", "train.csv",
        '"5","Great place!\\nThe \\""small\\"" one."\n"1","Cold soup, cold room."\n',
        csv_rows(header=False), options="--no-header --text-column 2 --label-column 1",
        first=('Great place!\\nThe \\"small\\" one.', "5"), last=("Cold soup, cold room.", "1"),
    ),
    text(
        "Sentiment140", "Latin bytes, no header, six fields", "training.csv",
        '"0","14678","Mon Apr 06","NO_QUERY","ann","no caf\xe9 for me, na\xefve me"\n'
        '"4","14679","Mon Apr 06","NO_QUERY","bob","lovely day"\n'.encode("cp1252"),
        csv_rows(header=False), options="--no-header --text-column 6 --label-column 1",
        refused="training.csv:1: not UTF-8 at byte 49, expected UTF-8 text; it is probably WINDOWS-1252: iconv -f "
        "WINDOWS-1252 -t UTF-8 ", remedy="",
        first=("no café for me, naïve me", "0"), last=("lovely day", "4"),
    ),
    text(
        "Excel, Unicode text", "UTF-16, CRLF, tabs", "export.tsv",
        "text\tlabel\r\nEin schöner Tag\tgut\r\nKein Tag\tschlecht\r\n".encode("utf-16"),
        tsv_rows(), refused="export.tsv:1: not UTF-8 at byte 0, expected UTF-8 text; it is probably UTF-16: iconv -f "
        "UTF-16 -t UTF-8 ", remedy="",
        first=("Ein schöner Tag", "gut"), last=("Kein Tag", "schlecht"),
    ),
    text(
        "Excel, German CSV", "semicolons, a comma in a number", "export.csv",
        "text;label\r\nEin Tag, schön;4.5\r\n\"Kein; Tag\";1\r\n",
        csv_rows(";"), options="--regression",
        refused="the header has 'text;label'; use --delimiter ';' to split it into columns", remedy="--delimiter ;",
        first=("Ein Tag, schön", 4.5), last=("Kein; Tag", 1.0),
    ),
    text(
        "Jigsaw toxic comments", "a 1 or 0 for each class in columns of their own", "train.csv",
        'id,comment_text,toxic,severe_toxic,insult\n0001,"You are kind,\nthank you",0,0,0\n0002,You fool,1,0,1\n'
        "0003,Go away,1,0,0\n",
        csv_rows(), options="--text-column comment_text --label-column toxic --multi-label",
        refused="train.csv: every row has a single 1 or 0, for just one class; expected all classes of a row in one "
        "column, as names or as a 1 or 0 for each, or no --multi-label",
        remedy="--no-multi-label", first=("You are kind,\nthank you", "0"), last=("Go away", "1"),
    ),
    text(
        "multi-hot", "the classes' ones and zeros as a list in a cell", "train.csv",
        'text,label\nYou fool,"[1, 0, 1]"\nYou are kind,"[0, 0, 0]"\nGo away,"[0, 1, 0]"\n',
        csv_rows(), options="--multi-label",
        first=("You fool", ("0", "2")), last=("Go away", ("1",)), said=("labels: 0 (1), 1 (1), 2 (1)",),
    ),
    text(
        "GoEmotions", "no header, numbers of classes with commas between them", "train.tsv",
        "That is kind of you\t0,15\tee1\nWhat?\t27\tee2\nOh no, \"not again\t3\tee3\n",
        lines(), options="--no-header --text-column 1 --label-column 2 --multi-label",
        first=("That is kind of you", ("0", "15")), last=('Oh no, "not again', ("3",)),
        said=("labels: 0 (1), 3 (1), 15 (1), 27 (1)",),
    ),
    text(
        "pandas, lists", "an index without a name, lists as Python shows them", "train.csv",
        ",text,label\n0,So glad,\"['joy', 'love']\"\n1,\"Well, well\",[]\n2,Grr,['anger']\n",
        csv_rows(), options="--multi-label",
        first=("So glad", ("joy", "love")), last=("Grr", ("anger",)),
    ),
    text(
        "pandas, lists, no option", "the same, one class asked for", "train.csv",
        ",text,label\n0,So glad,\"['joy', 'love']\"\n1,Grr,['anger']\n",
        csv_rows(),
        refused="label is \"['joy', 'love']\", a list, expected a word or a number; use --multi-label to read lists",
        remedy="--multi-label", first=("So glad", ("joy", "love")), last=("Grr", ("anger",)),
    ),
    text(
        "nested lists", "a list of lists", "train.jsonl",
        '{"text": "So glad", "label": [["joy"], ["love"]]}\n{"text": "Grr", "label": [["anger"]]}\n',
        options="--multi-label", refused="train.jsonl:1: label is an array, expected a word or a number",
    ),
    text(
        "Amazon reviews", "stars with a point, fields of all kinds, no final newline", "reviews.jsonl.gz",
        '{"overall": 5.0, "verified": true, "helpful": [0, 1], "vote": "2", "reviewText": "Works.\\nFine."}\n'
        '{"overall": 1.0, "verified": false, "style": {"Size:": " L"}, "reviewText": "Broke \\"at once\\"."}',
        lines(), options="--text-column reviewText --label-column overall",
        first=("Works.\nFine.", "5.0"), last=('Broke "at once".', "1.0"),
    ),
    text(
        "Amazon reviews, as Python", "marks that JSON does not have", "reviews.jsonl",
        "{'overall': 5.0, 'reviewText': 'Works.'}\n{'overall': 1.0, 'reviewText': 'Broke.'}\n",
        options="--text-column reviewText --label-column overall",
        refused="reviews.jsonl:1: expected one JSON object per line (Expecting property name enclosed in double quotes",
    ),
    text(
        "transformers' run_glue", "JSON lines called .json, a byte-order mark, CRLF", "train.json",
        '\ufeff{"text": "Yes.", "label": "a"}\r\n{"text": "No.", "label": "b"}\r\n',
        lines(), first=("Yes.", "a"), last=("No.", "b"),
    ),
    text(
        "pandas' to_json", "one array", "train.json",
        '[{"text": "Yes.", "label": 1}, {"text": "No.", "label": 0}]',
        refused="train.json:1: expected a JSON object, found an array; jq -c '.[]' writes its elements one per line",
    ),
    text(
        "ChnSentiCorp", "a byte-order mark, Chinese, one empty cell of many", "train.csv",
        "\ufefflabel,review\n1,房间很大，早餐也不错。\n0,\n0,\"服务太差, 再也不来了\"\n",
        2,  # of three rows: that without a text can't be read
        options="--text-column review",
        refused="train.csv:3: column 'review' is empty, expected text; --on-bad-row skip leaves such rows out",
        remedy="--on-bad-row skip", first=("房间很大，早餐也不错。", "1"), last=("服务太差, 再也不来了", "0"),
        said=("1 bad row(s)",),
    ),
    text(
        "LCQMC", "pairs in Chinese, blank lines at the end", "dev.tsv",
        "text_a\ttext_b\tlabel\n这本书好看吗\t这本书怎么样\t1\n怎么去车站\t今天几号\t0\n\n\n",
        tsv_rows(), options="--text-column text_a --text-pair-column text_b",
        first=("这本书好看吗", "这本书怎么样", "1"), last=("怎么去车站", "今天几号", "0"),
        said=("2 rows in 4 lines; 2 line(s) are blank",),
    ),
    text(
        "TNEWS", "classes by number and by name", "train.json",
        '{"label": "102", "label_desc": "news_music", "sentence": "新歌今天发布", "keywords": "新歌,歌手"}\n'
        '{"label": "110", "label_desc": "news_car", "sentence": "这辆车多少钱？", "keywords": ""}\n',
        lines(), options="--text-column sentence --label-column label_desc",
        first=("新歌今天发布", "news_music"), last=("这辆车多少钱？", "news_car"),
        said=("labels: news_car (1), news_music (1)",),
    ),
    text(
        "THUCNews", "tabs in .txt, no header", "train.txt",
        "新歌今天发布\t3\n这辆车多少钱\t7\n",
        lines(), options=r"--delimiter \t --no-header --text-column 1 --label-column 2",
        first=("新歌今天发布", "3"), last=("这辆车多少钱", "7"),
    ),
    text(
        "SMS spam", "no suffix, no header, a mark at a text's begin", "SMSSpamCollection",
        "ham\t\"Ok, see you\nspam\tWIN a prize! Call 0900\nham\tAt home\"\n",
        lines(), options=r"--delimiter \t --no-header --text-column 2 --label-column 1",
        first=('"Ok, see you', "ham"), last=('At home"', "ham"),
    ),
    text(
        "arXiv papers", "a text of 20,000 words in a line", "papers.csv",
        f"abstract,field\n{LONG},physics\nShort,maths\n",
        csv_rows(), options="--text-column abstract --label-column field",
        first=(LONG, "physics"), last=("Short", "maths"), said=("1 examples have 64 tokens or more",),
    ),
]  # fmt: skip


# --- Tags -------------------------------------------------------------------------------------------------------------


def tags(like: str, odd: str, file: str, content: str | bytes, count: Count | int = 0, **more: Any) -> Form:
    return Form(like, odd, "token-classification", file, content, count, **more)


TAGS = [
    tags(
        "CoNLL-2003", "four columns, -DOCSTART-, IOB1", "eng.train",
        "-DOCSTART- -X- -X- O\n\nAnn NNP I-NP I-PER\nLee NNP I-NP I-PER\nleft VBD I-VP O\n. . O O\n\n"
        "-DOCSTART- -X- O O\n\nOslo NNP I-NP I-LOC\nBergen NNP I-NP B-LOC\n",
        blocks, first=("Ann Lee left .", "I-PER I-PER O O"), last=("Oslo Bergen", "I-LOC B-LOC"),
        said=("tags are IOB1", "words: column 1, tags: column 4; first sentence: Ann Lee left . (I-PER I-PER O O)"),
    ),
    tags(
        "CoNLL-2000", "three columns; chunks", "train.txt",
        "The DT B-NP\nold JJ I-NP\nmill NN I-NP\nstands VBZ B-VP\n. . O\n\nIt PRP B-NP\nturns VBZ B-VP\n\n",
        blocks, first=("The old mill stands .", "B-NP I-NP I-NP B-VP O"), last=("It turns", "B-NP B-VP"),
        said=("tags are IOB2",),
    ),
    tags(
        "WNUT17", "a lone tab in the line between sentences", "train.conll",
        "@ann\tO\nsees\tO\nOslo\tB-location\n\t\nGo\tO\n#Oslo\tB-location\n\t\n",
        blocks, first=("@ann sees Oslo", "O O B-location"), last=("Go #Oslo", "O B-location"),
    ),
    tags(
        "GermEval", "# lines, numbered words, two columns of tags", "NER-de-train.tsv",
        "#\thttp://example.org/troia [2009-10-17]\n1\tTroja\tB-OTH\tB-LOC\n2\t-\tI-OTH\tO\n3\tSchau\tI-OTH\tO\n\n"
        "#\texample.org vom 26.02.2005\n1\tEr\tO\tO\n2\tkommt\tO\tO\n",
        blocks, options="--tag-column 3", first=("Troja - Schau", "B-OTH I-OTH I-OTH"), last=("Er kommt", "O O"),
        said=("words: column 2, tags: column 3;",),
    ),
    tags(
        "GermEval, no option", "the same; the last column of two is taken, and said", "NER-de-dev.tsv",
        "#\thttp://example.org [2009-10-17]\n1\tTroja\tB-OTH\tB-LOC\n2\tSchau\tI-OTH\tO\n\n1\tEr\tO\tO\n2\tkam\tO\tO\n",
        blocks, first=("Troja Schau", "B-LOC O"), last=("Er kam", "O O"),
        said=("words: column 2, tags: column 4; first sentence: Troja Schau (B-LOC O); column 3 has tags too",),
    ),
    tags(
        "MSRA NER", "a character a line, no final newline", "msra_train.txt",
        "李\tB-PER\n明\tI-PER\n在\tO\n北\tB-LOC\n京\tI-LOC\n\n他\tO\n走\tO",
        blocks, first=("李 明 在 北 京", "B-PER I-PER O B-LOC I-LOC"), last=("他 走", "O O"),
    ),
    tags(
        "Resume NER", "BMES, spaces, CRLF", "train.char.bmes",
        "李 B-NAME\r\n小 M-NAME\r\n明 E-NAME\r\n， O\r\n男 S-SEX\r\n\r\n好 O\r\n",
        blocks, first=("李 小 明 ， 男", "B-NAME I-NAME E-NAME O S-SEX"), last=("好", "O"),
        said=("tags are BIOES, written as BMES",),
    ),
    tags(
        "Weibo NER", "characters with their place in the word, types with a point", "weibo.conll",
        "老0\tB-PER.NOM\n师1\tI-PER.NOM\n好0\tO\n\n北0\tB-LOC.NAM\n京1\tI-LOC.NAM\n\n\n",
        blocks, first=("老0 师1 好0", "B-PER.NOM I-PER.NOM O"), last=("北0 京1", "B-LOC.NAM I-LOC.NAM"),
    ),
    tags(
        "Universal Dependencies", "shared forms, words left out, comments", "train.conllu",
        "# sent_id = 1\n# text = Va al mar\n"
        "1\tVa\tir\tVERB\tV\t_\t0\troot\t_\t_\n2-3\tal\t_\t_\t_\t_\t_\t_\t_\t_\n2\ta\ta\tADP\tS\t_\t4\tcase\t_\t_\n"
        "3\tel\tel\tDET\tD\t_\t4\tdet\t_\t_\n3.1\tgran\tgran\tADJ\tA\t_\t_\t_\t4:amod\t_\n"
        "4\tmar\tmar\tNOUN\tN\t_\t1\tobl\t_\tSpaceAfter=No\n\n"
        "# sent_id = 2\n1\tSí\tsí\tINTJ\tI\t_\t0\troot\t_\t_\n\n",
        blocks, options="--scheme none", first=("Va a el mar", "VERB ADP DET NOUN"), last=("Sí", "INTJ"),
        said=("words: form, tags: upos;", "tags are 5 classes, as none has a prefix such as B- before a type"),
    ),
    tags(
        "Universal Dependencies, no option", "parts of speech spell no entities", "train.conllu",
        "1\tVa\tir\tVERB\tV\t_\t0\troot\t_\t_\n2\tya\tya\tADV\tR\t_\t1\tadvmod\t_\t_\n\n",
        blocks, first=("Va ya", "VERB ADV"), last=("Va ya", "VERB ADV"), said=("tags are 2 classes, as none has a",),
    ),
    tags(
        "MultiCoNER", "# id … domain=en, columns of _, # as a word", "en-train.conll",
        "# id 5239d808\tdomain=en\nthe _ _ O\nmill _ _ B-FAC\n# _ _ O\n7 _ _ O\n\n# id 1e5a\tdomain=en\ngo _ _ O\n",
        blocks, first=("the mill # 7", "O B-FAC O O"), last=("go", "O"),
    ),
    tags(
        "NCBI disease, with a header", "a row that names the columns", "train.tsv",
        "Word\tTag\r\nThe\tO\r\ngout\tB-Disease\r\n\r\nNo\tO\r\npain\tB-Disease\r\n",
        2,  # the header is in the first of two blocks
        first=("The gout", "O B-Disease"), last=("No pain", "O B-Disease"),
        said=(r"train.tsv:1: skipped because it names the columns: 'Word\tTag'",),
    ),
    tags(
        "a spreadsheet's export", "a tab at the end of every row", "train.conll",
        "The\tO\t\ngout\tB-Disease\t\n\t\t\nNo\tO\t\n",
        2,  # as what has tabs alone ends a sentence
        refused="train.conll:1: a column is empty, expected a word and its tag; see --word-column and --tag-column",
        remedy="--tag-column 2", first=("The gout", "O B-Disease"), last=("No", "O"),
    ),
    tags(
        "JNLPBA", "### lines of one column before a text", "train.iob2",
        "###MEDLINE:9536\n\nIL-2\tB-DNA\ngene\tI-DNA\n\nis\tO\nfound\tO\n",
        blocks, refused="train.iob2:1: the row has 1 column(s), expected 2, as in the first row; --on-bad-row skip",
        remedy="--on-bad-row skip", first=("IL-2 gene", "B-DNA I-DNA"), last=("is found", "O O"),
    ),
    tags(
        "BILOU", "BIOES by its other name", "train.bilou",
        "Ann\tB-PER\nMay\tI-PER\nLee\tL-PER\nin\tO\nOslo\tU-LOC\n\nno\tO\n",
        blocks, first=("Ann May Lee in Oslo", "B-PER I-PER E-PER O S-LOC"), last=("no", "O"),
        said=("tags are BIOES, written as BILOU",),
    ),
    tags(
        "transformers' run_ner", "JSON lines called .json", "train.json",
        '{"id": "0", "tokens": ["Ann", "left", "New York"], "ner_tags": ["B-PER", "O", "B-LOC"]}\n'
        '{"id": "1", "tokens": ["Yes"], "ner_tags": ["O"]}\n',
        lines(), first=("Ann left New York", "B-PER O B-LOC"), last=("Yes", "O"),
        said=("words: tokens, tags: ner_tags; first sentence: Ann left New York (B-PER O B-LOC)",),
    ),
    tags(
        "datasets' conll2003", "tags by number", "train.jsonl",
        '{"tokens": ["Ann", "left"], "ner_tags": [1, 0]}\n{"tokens": ["Yes"], "ner_tags": [0]}\n',
        refused="train.jsonl:1: field 'ner_tags' has 1 at index 0, a number; expected strings: words, or the names of "
        "tags, such as B-PER, not their numbers",
    ),
    tags(
        "other names of fields", "words and labels", "train.jsonl",
        '{"words": ["Ann", "left"], "labels": ["B-PER", "O"]}\n{"words": ["Yes"], "labels": ["O"]}\n',
        lines(), refused="field 'tokens' is missing; the object has 'words', 'labels'; see --word-column and "
        "--tag-column; expected a list of words and a list of their tags",
        remedy="--word-column words --tag-column labels", first=("Ann left", "B-PER O"), last=("Yes", "O"),
    ),
    tags(
        "CLUENER", "spans of characters, not tags of words", "train.json",
        '{"text": "李明在北京", "label": {"name": {"李明": [[0, 1]]}, "address": {"北京": [[3, 4]]}}}\n',
        refused="train.json:1: field 'tokens' is missing; the object has 'text', 'label'; see --word-column and "
        "--tag-column; expected a list of words and a list of their tags",
    ),
    tags(
        "Kaggle's NER", "commas, sentences numbered", "ner_dataset.csv",
        "Sentence #,Word,POS,Tag\nSentence: 1,Ann,NNP,B-per\n,left,VBD,O\n",
        refused="ner_dataset.csv: .csv is not supported, expected columns separated by spaces or tabs, with a blank "
        "line between sentences, or .jsonl with lists of words and tags",
    ),
    tags(
        "numbered sentences", "the first column counts sentences", "train.conll",
        "1\tAnn\tB-PER\n1\tleft\tO\n2\tYes\tO\n2\t.\tO\n",
        1,  # as nothing else ends a sentence
        refused="train.conll:1: the first column, 1, 1, 2, numbers something, but not the words of each sentence; "
        "give --word-column, and put a blank line between sentences",
        remedy="--word-column 2", first=("Ann left Yes .", "B-PER O O O"), last=("Ann left Yes .", "B-PER O O O"),
    ),
]  # fmt: skip


# --- Questions and choices --------------------------------------------------------------------------------------------


def asked(like: str, odd: str, file: str, content: object, count: Count | int = questions, **more: Any) -> Form:
    """content: what is to be written as JSON; text as it is."""
    found = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return Form(like, odd, "question-answering", file, found, count, **more)


def choice(like: str, odd: str, file: str, content: str, count: Count | int = 0, **more: Any) -> Form:
    return Form(like, odd, "multiple-choice", file, content, count, **more)


def qa(id: object, question: str, *answers: tuple[str, int], **more: Any) -> dict[str, Any]:
    found = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": id, "question": question, "answers": found, **more}


MILL = "The mill was built in 1710 by monks."
SQUAD_1 = {"version": "1.1", "data": [
    {"title": "Mills", "paragraphs": [
        {"context": MILL, "qas": [qa("57", "When?", ("1710", 22), ("in 1710", 19)), qa("58", "Who?", ("monks", 30))]},
        {"context": "It burnt.", "qas": [qa("59", "What did it do?", ("burnt", 3))]},
    ]},
]}  # fmt: skip
SQUAD_2 = {"version": "v2.0", "data": [
    {"title": "Mills", "paragraphs": [{"context": MILL, "qas": [
        qa("a0", "When?", ("1710", 22), is_impossible=False),
        qa("a1", "Who burnt it?", is_impossible=True, plausible_answers=[{"text": "monks", "answer_start": 30}]),
    ]}]},
]}  # fmt: skip
RIVER = "黄河长约五千公里。"
FLAT = '{"id": "57", "title": "Mills", "context": "Ann left.", "question": "Who left?", "answers": {"text": ["Ann"], '
FLAT += '"answer_start": [0]}}\n'

QUESTIONS = [
    asked(
        "SQuAD 1.1", "answers that overlap", "train-v1.1.json", SQUAD_1,
        first=("57", "When?", "1710", "in 1710"), last=("59", "What did it do?", "burnt"),
    ),
    asked(
        "SQuAD 2.0", "questions without an answer, plausible ones beside", "dev-v2.0.json.gz", SQUAD_2,
        first=("a0", "When?", "1710"), last=("a1", "Who burnt it?"),
    ),
    asked(
        "COVID-QA", "ids are numbers; a byte-order mark", "200423_covidQA.json",
        "\ufeff" + json.dumps({"data": [{"paragraphs": [
            {"context": MILL, "document_id": 630, "qas": [qa(262, "When?", ("1710", 22), is_impossible=False)]},
            {"context": MILL, "document_id": 631, "qas": [qa(263, "Who?", ("monks", 30), is_impossible=False)]},
        ]}]}),
        lambda text: questions(text.removeprefix("\ufeff")), first=(262, "When?", "1710"), last=(263, "Who?", "monks"),
    ),
    asked(
        "XQuAD", "characters of two UTF-16 units before the answer", "xquad.zh.json",
        {"version": "1.1", "data": [{"title": "河", "paragraphs": [
            {"context": "🌊" + RIVER, "qas": [qa("x1", "多长？", ("五千公里", 5))]},
            {"context": RIVER, "qas": [qa("x2", "什么河？", ("黄河", 0))]},
        ]}]},
        first=("x1", "多长？", "五千公里"), last=("x2", "什么河？", "黄河"),
    ),
    asked(
        "CMRC 2018", "an empty question among others", "cmrc_trial.json",
        {"version": "v1.0", "data": [{"title": "河", "paragraphs": [{"id": "T_0", "context": RIVER, "qas": [
            qa("T_0_Q_0", "多长？", ("五千公里", 4)), qa("T_0_Q_1", "", ("黄河", 0)),
            qa("T_0_Q_2", "哪条河？", ("黄河", 0)),
        ]}]}]},
        2,  # of three: that without words can't be asked
        refused="question T_0_Q_1: field 'question' is empty, expected text; --on-bad-row skip leaves such rows out",
        remedy="--on-bad-row skip", first=("T_0_Q_0", "多长？", "五千公里"), last=("T_0_Q_2", "哪条河？", "黄河"),
    ),
    asked(
        "DRCD", "ids also of articles and answers; one answer is not where it should be", "DRCD_training.json",
        {"version": "1.3", "data": [{"id": "1001", "paragraphs": [{"id": "1001-1", "context": RIVER, "qas": [
            qa("1001-1-1", "多長？", ("五千公里", 4)), qa("1001-1-2", "什麼河？", ("黄河", 3)),
            qa("1001-1-3", "誰？", ("河", 1)),
        ]}]}]},
        2,  # of three, to train on
        first=("1001-1-1", "多長？", "五千公里"), last=("1001-1-3", "誰？", "河"),
        said=("1 question(s) left out of training:", "1001-1-2: the answer '黄河' should start at 3, but"),
    ),
    asked(
        "datasets' squad", "flat records, an object a line", "train.jsonl", FLAT + FLAT.replace("57", "58"),
        refused="train.jsonl: not readable as JSON (Extra data: line 2 column 1 (char 131)), expected SQuAD's; "
        "docs/finetuning.md shows how to convert records that each have a context",
    ),
    asked(
        "transformers' run_qa", "flat records in data", "train.json", f'{{"data": [{FLAT}]}}',
        refused="train.json: article 0: field 'paragraphs' is missing, expected an array as in SQuAD's files; "
        "docs/finetuning.md shows how to convert records that each have a context",
    ),
    choice(
        "our own", "two choices and four", "train.jsonl",
        '{"id": 7, "question": "What turns?", "choices": ["a mill", "a stone"], "answer": 0}\n\n'
        '{"question": "Who?", "choices": ["Ann", "Bob", "Eve", "Ken"], "answer": 3}',
        lines(), first=("What turns?", "a mill", "a stone", 0), last=("Who?", "Ann", "Bob", "Eve", "Ken", 3),
    ),
    choice(
        "SWAG", "a table", "train.csv",
        ",video-id,startphrase,ending0,ending1,label\n0,v1,She turns and,waves.,melts.,0\n",
        refused="train.csv: .csv is not supported, expected .jsonl with a question, a list of choices, and, as the "
        "answer, the index of the right one, from 0",
    ),
    choice(
        "RACE", "several questions of one text in an object", "high.json",
        '{"answers": ["A"], "options": [["Oslo", "Rome"]], "questions": ["Where?"], "article": "...", "id": "1"}\n',
        refused="high.json:1: field 'question' is missing; the object has 'answers', 'options', 'questions', "
        "'article', 'id'; expected a question, a list of choices, and, as the answer, the index of the right one",
    ),
    choice(
        "CommonsenseQA", "choices with letters", "train.jsonl",
        '{"question": "Where?", "choices": {"label": ["A", "B"], "text": ["Oslo", "Rome"]}, "answer": "A"}\n',
        refused="field 'choices' is an object, expected a list of at least two strings",
    ),
    choice(
        "answers by letter", "A in place of 0", "train.jsonl",
        '{"question": "Where?", "choices": ["Oslo", "Rome"], "answer": "A"}\n',
        refused="field 'answer' is 'A', expected the index of a choice, from 0",
    ),
]  # fmt: skip

FORMS = [*TEXTS, *TAGS, *QUESTIONS]


# --- Reading them -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What became of a form's file."""

    said: str  # where it was refused
    data: TrainingData | None  # what was read of it, at once or by the remedy
    path: str  # of the file read
    counted: int  # in that, by other means


def outcome(form: Form, base: Path, directory: Path) -> Outcome:
    """Reads a file as training does before its first step, and again with the remedy where it is refused."""
    path = write(directory / form.file, form.content)
    said, options = "", shlex.split(form.options.replace("\\t", "'\\t'"))
    if form.refused:
        said = refusal(lambda: prepared(form, base, path, options))
        if form.remedy is None:
            return Outcome(said, None, path, -1)
        if form.converted:
            subprocess.run(said[said.index("iconv") :], shell=True, check=True, cwd=directory)
            path = str(directory / f"utf8-{form.file}")
        options += shlex.split(form.remedy.replace("\\t", "'\\t'"))
    data = prepared(form, base, path, options)
    return Outcome(said, data, path, form.count if isinstance(form.count, int) else form.count(text_of(form)))


def to_be_predicted(found: Outcome) -> list[Any]:
    """What `predict` reads of the file: the same without labels, bad rows aside."""
    assert found.data is not None
    task = found.data.task
    return list(read_examples(found.path, task.data_options, Tally("skip"), labelled=False))


def prepared(form: Form, base: Path, path: str, options: list[str]) -> TrainingData:
    args = ["--model", str(base), "--train", path, "--dev", path, "--out", "run", *options]
    return prepare(parse_options(form.task, args), processes=1)


def text_of(form: Form) -> str:
    """Its content as text, for the other count."""
    if isinstance(form.content, str):
        return form.content
    return form.content.decode("utf-16" if form.content.startswith(b"\xff\xfe") else "cp1252")


def row_of(example: Any) -> tuple[Any, ...]:
    """What stands in a file of an example."""
    match example:
        case TextExample(text=text, pair=None, label=label):
            return (text, label)
        case TextExample(text=text, pair=pair, label=label):
            return (text, pair, label)
        case TaggedExample(words=words, tags=tags):
            return (" ".join(words), " ".join(tags or ()))
        case QuestionExample(id=id, question=question, answers=answers):
            return (id, question, *(answer.text for answer in answers))
        case ChoiceExample(question=question, choices=choices, answer=answer):
            return (question, *choices, answer)
    raise AssertionError(example)


@pytest.fixture(autouse=True)
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """What computes figures takes seconds to import, and none are computed."""
    monkeypatch.setattr("finetune.scoring.metrics.import_torchmetrics", lambda: None)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.id)
def test_a_form_is_read_right_or_refused_with_a_remedy_that_helps(form: Form, base: Path, tmp_path: Path) -> None:
    found = outcome(form, base, tmp_path)
    assert form.refused in found.said and bool(form.refused) == bool(found.said)
    if found.data is not None:
        examples = found.data.train.examples
        assert len(examples) == found.counted
        assert (row_of(examples[0]), row_of(examples[-1])) == (form.first, form.last)
        assert all(any(part in note for note in found.data.notes) for part in form.said), found.data.notes
        assert list(map(asked_of, to_be_predicted(found))) == list(map(asked_of, found.data.dev.examples))


def asked_of(example: Any) -> tuple[Any, ...]:
    """An example without its label."""
    if isinstance(example, QuestionExample):
        return (example.id, example.question, example.context)
    return row_of(example)[:-1]


def test_there_are_forms_of_every_task() -> None:
    assert len(FORMS) == len({form.id for form in FORMS}) == 65
    assert {form.task for form in FORMS} == {
        "text-classification", "token-classification", "question-answering", "multiple-choice",
    }  # fmt: skip


def show() -> None:
    """All forms as a table."""
    with tempfile.TemporaryDirectory() as directory:
        base = write_model(Path(directory) / "model")
        print(f"{'like':34} {'read':>4} {'counted':>7}  what is odd; what is said where it is refused")
        for form in FORMS:
            try:
                found = outcome(form, base, Path(directory))
            except InputError as error:
                print(f"{form.id}: {error}")
                continue
            read = "-" if found.data is None else len(found.data.train.examples)
            said = found.said.replace(f"{directory}/", "")
            print(f"{form.id:34} {read:>4} {found.counted if found.data else '-':>7}  {form.odd}{said and f': {said}'}")


if __name__ == "__main__":
    show()
