"""Published forms of texts with classes or scores."""

from __future__ import annotations

from typing import Any

from tests.finetune.data.forms import Count, Form, csv_rows, lines, tsv_rows


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
        "use --no-header if there is no header",
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
        last=("Two\r\nlines", "positive"), said=("3 rows in 7 lines; 2 fields with line breaks inside",),
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
        refused="train.csv: every row has a single 1 or 0, as for one class; expected all classes of a row in one "
        "column, as names or as a 1 or 0 for each; if there is only one class, leave out --multi-label",
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
        refused="label is a list (\"['joy', 'love']\"), expected a word or a number; use --multi-label to read lists",
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
        said=("1 bad row",),
    ),
    text(
        "LCQMC", "pairs in Chinese, blank lines at the end", "dev.tsv",
        "text_a\ttext_b\tlabel\n这本书好看吗\t这本书怎么样\t1\n怎么去车站\t今天几号\t0\n\n\n",
        tsv_rows(), options="--text-column text_a --text-pair-column text_b",
        first=("这本书好看吗", "这本书怎么样", "1"), last=("怎么去车站", "今天几号", "0"),
        said=("2 rows in 4 lines; 2 blank lines",),
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
        first=(LONG, "physics"), last=("Short", "maths"), said=("1 example with 64 tokens or more",),
    ),
]  # fmt: skip
