"""python -m minibert probe: where a model knows parts of speech, or whatever else words or texts are labelled with."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from minibert.console import cli, terminal
from minibert.embedding import BATCH_TOKENS
from minibert.errors import InputError, did_you_mean, naming, plural
from minibert.files import conllu, tables, writing
from minibert.files.text import check_text, read_lines, shown, suffix
from minibert.loading import load
from minibert.probing import Examples, Probes, probe
from minibert.probing_picture import draw_blocks
from minibert.training.device import choose_device
from minibert.training.memory import keep_freed_memory

DESCRIPTION = """Train a linear probe on the hidden states of each block: where does a model know, say, parts of speech?

  python -m minibert probe models/minilm --data train.conllu --test test.conllu --picture probe.png
  python -m minibert probe models/minilm --data train.conllu --tag-column deprel       # a fifth of it is held out
  python -m minibert probe models/minilm --data reviews.csv --text-column review       # classes of texts

A probe is a multinomial logistic regression. A word's state is the mean of its pieces' states, and a text's the mean
over all of its tokens. Accuracy is measured on the test part. For words, a second probe is trained on a control task,
in which each word type has a random tag (Hewitt & Liang 2019); selectivity is the accuracy minus that of the control
task. If it is low, the probe may have learned the tags of the words by heart. Texts have no control task."""

TABLES = (".csv", ".tsv")


@dataclass(frozen=True)
class ProbeOptions:
    """The options of `probe`."""

    directory: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")]
    """a model directory of any class; only its encoder is used"""
    data: Annotated[str, tyro.conf.arg(metavar="FILE")]
    """what to train the probes on, plain or .gz; .conllu: words with tags; .csv or .tsv: texts with labels"""
    dev: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """a file like --data on which the strength of the L2 penalty is chosen; if not given: a random tenth of the
    sentences or texts of --data, after --test is held out"""
    test: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """a file like --data on which the accuracy is measured; if not given: a random fifth of the sentences or texts of
    --data"""
    tag_column: Annotated[str, tyro.conf.arg(metavar="COLUMN")] = "upos"
    """the column of CoNLL-U that has the tags; words with _ there are not probed"""
    text_column: Annotated[str, tyro.conf.arg(metavar="COLUMN")] = "text"
    """the column of the text in a table; with --no-header its number, from 1"""
    label_column: Annotated[str, tyro.conf.arg(metavar="COLUMN")] = "label"
    """the column of the label, given as for --text-column"""
    delimiter: Annotated[str | None, tyro.conf.arg(metavar="CHARS")] = None
    """the character(s) between fields of a table; if not given: a tab in .tsv, or else a comma"""
    header: bool = True
    """the first row of a table names the columns"""
    quoting: tyro.conf.DisallowNone[bool | None] = None
    """fields may be enclosed in quotation marks; if not given: yes, unless tabs separate the fields"""
    json: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """also write the figures to this file, as JSON"""
    picture: Annotated[str | None, tyro.conf.arg(metavar="FILE.png")] = None
    """also draw accuracy and selectivity over the blocks"""
    seed: cli.Seed = 0
    """decides what is held out, and the random tags of the control task"""
    batch_tokens: cli.Count = BATCH_TOKENS
    """number of tokens in a batch, including padding; larger batches are faster on a GPU, but need more memory"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """where to compute; auto: a GPU if there is one, or else the CPU"""

    @property
    def files(self) -> dict[str, str | None]:
        """The part that each file is -> its name."""
        return {"train": self.data, "dev": self.dev, "test": self.test}

    def check(self, given: Sequence[str]) -> None:
        """Raises InputError if an option is out of range or does not belong to this kind of file, or an output can't be
        written or replaces an input.
        """
        cli.check_ranges(self)
        kind = suffix(self.data)
        if kind not in (conllu.SUFFIX, *TABLES):
            raise InputError(f"{shown(self.data)}: expected {conllu.SUFFIX}, .csv or .tsv, plain or .gz")
        like = (conllu.SUFFIX,) if kind == conllu.SUFFIX else TABLES
        for path in (self.dev, self.test):
            if path is not None and suffix(path) not in like:
                raise InputError(f"{shown(path)}: expected {' or '.join(like)}, plain or .gz, like {self.data}")
        if kind == conllu.SUFFIX:
            of_tables = ("--text-column", "--label-column", "--delimiter", "--header", "--no-header")
            cli.refuse(given, (*of_tables, "--quoting", "--no-quoting"), "it belongs to .csv and .tsv")
        else:
            cli.refuse(given, ("--tag-column",), f"it belongs to {conllu.SUFFIX}")
            if self.text_column == self.label_column:
                raise InputError(f"--text-column and --label-column are both {self.text_column}, expected two columns")
        outputs = {"--json": self.json, "--picture": self.picture}
        writing.check_outputs(outputs, reads=(*self.files.values(), self.directory))


def probe_command(args: Sequence[str]) -> None:
    """Run `probe`. Raises InputError if the directory, a file or an option is wrong."""
    options = cli.parse(ProbeOptions, args, prog="python -m minibert probe", description=DESCRIPTION)
    options.check(list(cli.given_options(args)))
    keep_freed_memory()
    read = read_words if suffix(options.data) == conllu.SUFFIX else read_labelled_texts
    train, dev, test = (None if path is None else read(path, options) for path in options.files.values())
    assert train is not None
    model, tokenizer = load(options.directory)
    model.to(choose_device(options.device))
    with naming(options.data):
        found = probe(
            model, tokenizer, train, dev=dev, test=test,
            seed=options.seed, batch_tokens=options.batch_tokens, progress=True,
        )  # fmt: skip
    what = "text" if found.seen_types is None else "word"
    terminal.say(*notes(found, what))
    if options.json is not None:
        content = json.dumps(as_json(options, found), indent=2, ensure_ascii=False)
        writing.write_whole_text(Path(options.json), content + "\n")
    print("\n".join(table(found)))
    if options.picture is not None:
        title = f"{writing.real_path(options.directory).name}, {Path(options.data).name}"
        draw_blocks(Path(options.picture), title, found)
        terminal.say(f"{options.picture}: drawn")


def read_words(path: str, options: ProbeOptions) -> Examples:
    """Return the words and tags of each sentence. Raises InputError, naming the file and the row or the column."""
    column, columns = options.tag_column.lower(), [name for name in conllu.COLUMNS if name not in ("id", "form")]
    if column not in columns:
        near = did_you_mean(column, columns) or f", expected one of {', '.join(columns)}"
        raise InputError(f"--tag-column {options.tag_column}: no column with tags has this name{near}")
    found = []
    for block in conllu.read_blocks(read_lines(path), path):
        cells = conllu.read_sentence(block, path).cells
        found.append((cells["form"], [None if tag == "_" else tag for tag in cells[column]]))
    if not any(tag is not None for _, tags in found for tag in tags):
        there = f"every word has _ in column {column}; see --tag-column" if found else "found no sentence"
        raise InputError(f"{shown(path)}: expected words with tags, but {there}")
    return found


def read_labelled_texts(path: str, options: ProbeOptions) -> Examples:
    """Return the texts with their labels. Raises InputError, naming the file and the row."""
    form = tables.TableFormat(options.delimiter, options.header, options.quoting)
    columns = (options.text_column, options.label_column)
    rows = tables.read_rows(path, columns, form, see="see --text-column and --label-column")
    found = []
    for row in rows:
        named = zip(row.cells, columns, strict=True)
        text, label = (check_text(cell, f"{row.where}: column {name!r}") for cell, name in named)
        found.append((text, label.strip()))
    return found


def notes(found: Probes, what: str) -> list[str]:
    """Return lines about the data: how many words or texts, what bounds the figures, and what is left out."""
    test = found.counts["test"]
    parts = [f"{plural(count, what)} in {name}" for name, count in found.counts.items()]
    told = [f"{', '.join(parts)}; {len(found.labels)} labels"]
    told += [f"{why}: {plural(count, what)}" for why, count in found.left_out.items() if count]
    if 2 * found.unknown > sum(found.counts.values()):
        told.append(f"the vocabulary does not fit: {plural(found.unknown, what)} with an unknown token")
    if found.unseen_labels:
        told.append(f"counted as wrong: {found.unseen_labels:,} of {plural(test, what)} in test, with a label that is")
        told[-1] += " not in train"
    if found.seen_types is not None and found.seen_types < 1:
        told.append(f"{100 * found.seen_types:.2f}% of the words in test are of types in train; the control task can't")
        told[-1] += " know the others"
    return told


def table(found: Probes) -> list[str]:
    """Return the lines of the table: a row for each block, in percent and points, and the baseline."""
    shown = [f"{'block':<12}{'accuracy':>10}{'control':>10}{'selectivity':>13}{'penalty':>10}"]
    for block in found.blocks:
        cells = f"{'-':>10}{'-':>13}"
        if block.control is not None and block.selectivity is not None:
            cells = f"{100 * block.control:>9.2f}%{100 * block.selectivity:>13.2f}"
        shown.append(f"{block.name:<12}{100 * block.accuracy:>9.2f}%{cells}{block.penalty:>10g}")
    return [*shown, f"{'majority':<12}{100 * found.majority:>9.2f}%"]


def as_json(options: ProbeOptions, found: Probes) -> dict[str, Any]:
    """Return what --json writes."""
    blocks = [block._asdict() | {"selectivity": block.selectivity} for block in found.blocks]
    return {"model": options.directory, "data": options.files, **found._asdict(), "blocks": blocks}
