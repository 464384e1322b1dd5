"""Published forms of words with tags."""

from __future__ import annotations

from typing import Any

from tests.finetune.data.forms import Count, Form, blocks, lines


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
        "GermEval", "# lines, numbered words; of two columns of tags, the outer ones are taken", "NER-de-train.tsv",
        "#\thttp://example.org/troia [2009-10-17]\n1\tTroja\tB-OTH\tB-LOC\n2\t-\tI-OTH\tO\n3\tSchau\tI-OTH\tO\n\n"
        "#\texample.org vom 26.02.2005\n1\tEr\tO\tO\n2\tkommt\tO\tO\n",
        blocks, first=("Troja - Schau", "B-OTH I-OTH I-OTH"), last=("Er kommt", "O O"),
        said=("words: column 2, tags: column 3; first sentence: Troja - Schau (B-OTH I-OTH I-OTH); column 4 has tags",),
    ),
    tags(
        "GermEval, names inside names", "the same; the inner tags are asked for", "NER-de-dev.tsv",
        "#\thttp://example.org [2009-10-17]\n1\tTroja\tB-OTH\tB-LOC\n2\tSchau\tI-OTH\tO\n\n1\tEr\tO\tO\n2\tkam\tO\tO\n",
        blocks, options="--tag-column 4", first=("Troja Schau", "B-LOC O"), last=("Er kam", "O O"),
        said=("words: column 2, tags: column 4;",),
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
        refused="train.conll:1: a column is empty, expected a word and its tag (see --word-column and --tag-column)",
        remedy="--tag-column 2", first=("The gout", "O B-Disease"), last=("No", "O"),
    ),
    tags(
        "JNLPBA", "### lines of one column before a text", "train.iob2",
        "###MEDLINE:9536\n\nIL-2\tB-DNA\ngene\tI-DNA\n\nis\tO\nfound\tO\n",
        blocks, refused="train.iob2:1: the row has 1 column, expected 2, as in the first row; --on-bad-row skip",
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
        lines(), refused="field 'tokens' is missing; the object has 'words', 'labels'; expected a list of words "
        "and a list of their tags (see --word-column and --tag-column)",
        remedy="--word-column words --tag-column labels", first=("Ann left", "B-PER O"), last=("Yes", "O"),
    ),
    tags(
        "CLUENER", "spans of characters, not tags of words", "train.json",
        '{"text": "李明在北京", "label": {"name": {"李明": [[0, 1]]}, "address": {"北京": [[3, 4]]}}}\n',
        refused="train.json:1: field 'tokens' is missing; the object has 'text', 'label'; expected a list of words "
        "and a list of their tags (see --word-column and --tag-column)",
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
        refused="train.conll:1: the numbers in the first column (1, 1, 2) don't count the words of each sentence; "
        "give --word-column, and put a blank line between sentences",
        remedy="--word-column 2", first=("Ann left Yes .", "B-PER O O O"), last=("Ann left Yes .", "B-PER O O O"),
    ),
]  # fmt: skip
