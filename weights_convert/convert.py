"""A Hugging Face directory becomes a model directory (`from_hf`), and the way back (`to_hf`)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save as safetensors_bytes

from minibert import checkpoint
from minibert.errors import InputError
from minibert.heads import ARCHITECTURES, Model
from minibert.tokenizer import Tokenizer
from minibert.vocabulary import MAX_WORD_CHARS
from minibert.vocabulary_files import CLASSES, GENERIC_CLASSES, NAMED
from weights_convert.config_map import ENCODER_CLASS, Described, read_config, to_fields
from weights_convert.hub import directory_named
from weights_convert.key_map import Ledger, check_layers, in_table_spelling, match, to_keys, to_parameters
from weights_convert.weight_files import SAFETENSORS, find_weights, read_weights


@dataclass(frozen=True)
class Conversion:
    """A Hugging Face directory in our terms, and what became of its parts."""

    model: Model
    tokenizer: Tokenizer
    ledger: Ledger
    left_aside: tuple[str, ...]  # fields of its config.json


def from_hf(directory: str | Path, out: str | Path, *, new_head: torch.Generator | None = None) -> Conversion:
    """Writes the model directory `out` from a Hugging Face directory, or a model's name on the hub.

    Weights keep their number format. `new_head` draws those of a head (or pooler) that the directory has none for;
    None: that is an error.

    Raises:
        InputError: as `read_hf`, or `out` is there already.
        OSError: `out` can't be written; then nothing is left behind.
    """
    checkpoint.check_new(out)
    conversion = read_hf(directory, new_head=new_head)
    checkpoint.save(conversion.model, conversion.tokenizer, out)
    return conversion


def read_hf(directory: str | Path, *, new_head: torch.Generator | None = None) -> Conversion:
    """What `from_hf` writes, without writing it; the model is in evaluation mode.

    Raises:
        InputError: not a Hugging Face directory, another kind of model, damaged weights, keys that the map does not
            know or misses, config fields that contradict the weights or the vocabulary.
    """
    directory = directory_named(directory)
    described = read_config(directory / "config.json")
    tokenizer = Tokenizer.load(directory)
    if tokenizer.vocab_size != described.config.vocab_size:
        raise InputError(
            f"{directory}: {tokenizer.vocab_size} tokens in the vocabulary, vocab_size {described.config.vocab_size} "
            "in config.json"
        )
    weights = find_weights(directory)
    tensors = read_weights(weights)
    architecture = choose_architecture(described, tensors, source=str(directory))
    check_layers(tensors, described.config, str(weights))
    try:
        with torch.device("meta"):  # shapes without memory: every parameter is then filled from the file
            model = ARCHITECTURES[architecture](described.config, **described.head(architecture))
    except (InputError, RuntimeError) as error:  # RuntimeError: more numbers than can be counted
        raise InputError(f"{directory / 'config.json'}: {error}") from None
    ledger = match(tensors, model, new_head=new_head is not None, source=str(weights))
    checkpoint.assign_weights(model, to_parameters(tensors, ledger, model, new_head), source=str(weights))
    return Conversion(model.eval(), tokenizer, ledger, described.left_aside)


def choose_architecture(described: Described, keys: Iterable[str], *, source: str) -> str:
    """The name of our class: of the one that the config names, or else of the one that the weights are those of.

    Raises:
        InputError: the config names none and the weights leave it open, or the decoder's weight is nowhere.
    """
    modules = {in_table_spelling(key).rpartition(".")[0] for key in keys}
    name = described.reference_class or _class_of(modules, source)
    has_decoder = name in ("BertForPreTraining", "BertForMaskedLM")
    if has_decoder and not described.tied and "cls.predictions.decoder" not in modules:
        raise InputError(f"{source}/config.json: tie_word_embeddings is false, but the weights have no decoder")
    if name == ENCODER_CLASS:
        return "BertWithPooler" if "bert.pooler.dense" in modules else "Bert"
    return name


def _class_of(modules: set[str], source: str) -> str:
    """The reference's class for a directory from before configs named one."""
    if "classifier" in modules:
        raise InputError(f"{source}/config.json: architectures missing, and classifier.weight may be of several")
    needed = {
        "BertForPreTraining": {"bert.pooler.dense", "cls.predictions", "cls.seq_relationship"},
        "BertForMaskedLM": {"cls.predictions"},
        "BertForNextSentencePrediction": {"bert.pooler.dense", "cls.seq_relationship"},
        "BertForQuestionAnswering": {"qa_outputs"},
    }
    return next((name for name, parts in needed.items() if parts <= modules), ENCODER_CLASS)


def to_hf(directory: str | Path, out: str | Path) -> Model:
    """Writes `out`, which transformers' `from_pretrained` loads, from a model directory; returns its model.

    Raises:
        InputError: not a model directory, a damaged one, a tokenizer that the reference's can't be, or `out` is there
            already.
        OSError: `out` can't be written; then nothing is left behind.
    """
    checkpoint.check_new(out)
    model, tokenizer = checkpoint.load(directory)
    fields = to_fields(model)
    with checkpoint.written_whole(Path(out).resolve()) as aside:
        tokenizer.save(aside)
        write_json(aside / "tokenizer_config.json", tokenizer_fields(tokenizer, model.config.max_position_embeddings))
        content = safetensors_bytes(to_keys(model), metadata={"format": "pt"})  # which the reference asks for
        (aside / SAFETENSORS).write_bytes(content)
        write_json(aside / "config.json", fields)
    return model


def tokenizer_fields(tokenizer: Tokenizer, positions: int) -> dict[str, object]:
    """A `tokenizer_config.json`: the class that does what the tokenizer does, and its options.

    The reference's BertTokenizer takes a word of more than 100 characters for [UNK], and its AlbertTokenizer the token
    of id 1 for <unk>, whatever `tokenizer.json` says; where that says otherwise, the generic class is named, which goes
    by the file.

    Raises:
        InputError: an option that the reference's tokenizer does not have.
    """
    normalization, kind = tokenizer.normalization, tokenizer.kind
    options: dict[str, bool] = {
        "wordpiece": {
            "do_lower_case": normalization.lowercase,
            "strip_accents": normalization.strip_accents,
            "tokenize_chinese_chars": normalization.chinese_chars,
        },
        "bpe": {"add_prefix_space": tokenizer.add_prefix_space},
        "unigram": {"do_lower_case": normalization.lowercase, "keep_accents": not normalization.strip_accents},
    }[kind]
    if kind == "wordpiece" and not normalization.clean_text:
        raise InputError("the tokenizer's clean_text is false; transformers' BertTokenizer always cleans")
    as_file_says = tokenizer.max_word_chars not in (None, MAX_WORD_CHARS) or (
        kind == "unigram" and tokenizer.unk_id != 1
    )
    segments = ["token_type_ids"] if tokenizer.second_segment else []
    return {
        "tokenizer_class": GENERIC_CLASSES[0] if as_file_says else CLASSES[kind][0],
        "model_input_names": ["input_ids", *segments, "attention_mask"],
        **options,
        "model_max_length": positions,
        **dict(zip(NAMED, tokenizer.special_tokens, strict=True)),
    }


def write_json(path: Path, fields: dict[str, object]) -> None:
    """Fields as people read them."""
    path.write_text(json.dumps(fields, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
