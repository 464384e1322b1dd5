"""python -m minibert embed: a file of texts -> a file of vectors."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from numpy.typing import NDArray

from minibert.console import cli, terminal
from minibert.embedding import BATCH_TOKENS, embed_tokenized, text_vectors, tokenize
from minibert.errors import InputError, plural
from minibert.files import writing
from minibert.files.text import read_texts
from minibert.loading import load
from minibert.training.device import choose_device, choose_precision
from minibert.training.memory import keep_freed_memory

DESCRIPTION = """Turn each line of a text file into a vector, and write the vectors as the rows of a .npy file.

  python -m minibert embed models/minilm --input texts.txt --output vectors.npy --normalize
  python -c 'import numpy; v = numpy.load("vectors.npy"); print(v[0] @ v[1])'      # the cosine of the first two texts

For a model converted from sentence-transformers, the defaults are the maximum length, pooling and normalisation that it
was trained with. The vectors are float32, in the order of the lines. An empty line is an empty text, and has a row
too."""


@dataclass(frozen=True)
class EmbedOptions:
    """The options of `embed`."""

    directory: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")]
    """a model directory of any class; only its encoder is used"""
    input: Annotated[str, tyro.conf.arg(metavar="FILE")]
    """a UTF-8 file with one text per line, plain or .gz, not a table or JSON; -: standard input"""
    output: Annotated[str, tyro.conf.arg(metavar="FILE.npy")]
    """the .npy file to write; an existing one is replaced"""
    pooling: Annotated[Literal["mean", "cls", "max"] | None, tyro.conf.arg(metavar="{mean,cls,max}")] = None
    """what becomes the vector of a text; mean: the mean of the last block's hidden states over all tokens, including
    special tokens; max: their largest value in each dimension; cls: the hidden state of [CLS]; if not given: what the
    model was trained with, if known, or else mean"""
    normalize: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """scale every vector to length 1, so that a dot product is the cosine; the default if the model was trained that
    way"""
    no_normalize: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """leave every vector at its own length, even if the model was trained to scale them"""
    batch_tokens: cli.Count = BATCH_TOKENS
    """number of tokens in a batch, including padding; larger batches are faster on a GPU, but need more memory"""
    max_length: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """maximum number of tokens per text, including special tokens; longer texts are cut off; if not given: what the
    model was trained with, if known, or else its number of positions"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """where to compute; auto: a GPU if there is one, or else the CPU"""
    dtype: Literal["auto", "float32", "bfloat16"] = "float32"
    """number format of weights and hidden states; auto: bfloat16 if the hardware is fast with it, or else float32; the
    vectors are float32 in any case"""


def embed_command(args: Sequence[str]) -> None:
    """Run `embed`. Raises InputError if the directory, the input, the output or an option is wrong."""
    options = cli.parse(EmbedOptions, args, prog="python -m minibert embed", description=DESCRIPTION)
    cli.check_ranges(options)
    output = Path(options.output)
    if output.suffix != ".npy":
        raise InputError(f"{output}: expected a name that ends in .npy")
    if options.normalize and options.no_normalize:
        raise InputError("--normalize and --no-normalize: expected only one of them")
    writing.check_writable(output, reads=(options.input, options.directory))
    keep_freed_memory()
    device = choose_device(options.device)
    precision = choose_precision(options.dtype, device)
    model, tokenizer = load(options.directory)
    normalize = True if options.normalize else False if options.no_normalize else None
    wanted = text_vectors(model, pooling=options.pooling, normalize=normalize, max_length=options.max_length)
    texts = read_texts(options.input)
    # The weights are cast once; autocast would do it at every use.
    encoder = model.encoder.to(device, precision.dtype)
    start = time.perf_counter()
    tokenized = tokenize(encoder, tokenizer, texts, max_length=wanted.max_length, progress=True)
    vectors = embed_tokenized(encoder, tokenized, wanted, batch_tokens=options.batch_tokens, progress=True)
    seconds = time.perf_counter() - start
    writing.write_whole(output, lambda path: write_npy(path, vectors))
    if (said := encoder.text_vectors) is not None:
        terminal.say(f"vectors: {wanted}{'' if wanted == said else f'; the default is {said}'}")
    if tokenized.cut:
        terminal.say(f"cut at {tokenized.max_length} tokens: {tokenized.cut:,} of {plural(len(texts), 'text')}")
    speed = f"{plural(len(texts), 'text')} in {seconds:.1f} s, {len(texts) / seconds:,.0f} per second"
    terminal.say(f"{speed}; {device.type}, {precision.reason}")
    terminal.say(f"{options.output}: {vectors.shape[0]} x {vectors.shape[1]}, float32")


def write_npy(path: Path, vectors: NDArray[np.float32]) -> None:
    """Write what numpy.save writes, but let a full disk raise the system's error: numpy's has no error number."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(vectors))
        file.write(vectors.data)
