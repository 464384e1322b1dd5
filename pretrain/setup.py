"""What happens before the first step: checking, making the token arrays, building the model.

All that can be wrong with a user's input is found here; a directory that did not exist before is then removed.
"""

import random
from pathlib import Path

import numpy as np
import torch

from minibert import checkpoint
from minibert.config import BertConfig, config_named
from minibert.console import terminal
from minibert.errors import InputError, plural
from minibert.fast import accelerate
from minibert.files import writing
from minibert.heads import BertForMaskedLM, BertForPreTraining
from minibert.tokenizer import Tokenizer
from minibert.training.device import choose_device, choose_precision, missing_for_compiling
from minibert.training.optimizer import OptimizerOptions
from minibert.training.room import Passes, block_matrices, check_room, needs, parameter_count
from minibert.training.run_directory import RunStatus, gone_on_bad_input
from minibert.training.snapshot import StartingModel, TakenOver, take_over
from pretrain import evaluate
from pretrain.arrays.duplicates import duplicates_note
from pretrain.arrays.prepare import prepare
from pretrain.arrays.shards import PreparedCorpus, TokenArrays, open_prepared
from pretrain.batches.pairs import PairOptions, plan_block
from pretrain.initial import begin_at_neighbours
from pretrain.options import PretrainOptions
from pretrain.run_directory import PretrainDirectory
from pretrain.text.corpus import check_corpus

PretrainModel = BertForPreTraining | BertForMaskedLM

# `torch.compile` takes 25 seconds for BERT-mini and 50 for base, and saves between a seventh and a quarter of a step.
COMPILED_FROM_MINUTES = 10

# A vocabulary yet to be trained is assumed to reach the size asked for, but at most BERT's own: few texts fill more.
USUAL_VOCABULARY = 30522

DOCUMENTS_LOOKED_AT = 200  # to estimate how long sequences are
BATCH_OBJECTS = 3_000  # bytes of a micro-batch's tensor objects, without their contents


def set_up(
    run: PretrainDirectory, options: PretrainOptions, start: StartingModel | None, *, processes: int
) -> RunStatus:
    """Make sure that the run can be trained: that its directory, config and token arrays exist and fit together.

    start: the model of --init.

    Raises InputError as `pretrain.train.train` does.
    """
    options.check()
    if options.batch_size < processes * options.accumulate:
        raise InputError(
            f"--batch-size {options.batch_size} is too small for {plural(processes, 'process', 'es')} with "
            f"{plural(options.accumulate, 'micro-batch', 'es')} each"
        )
    status = run.status(options)
    if status is RunStatus.FINISHED:
        return status
    if start:
        start.load()  # refused here if it is damaged, or if its sizes differ from its config's
    check_lengths(_config(options), options)
    if _config(options).attention_window is not None and options.pair_objective != "none":
        terminal.say("to-hf can't export this model: transformers has no Longformer for sentence pairs; use --no-nsp")
    unprepared = bool(options.corpus) and not run.data.exists()
    if unprepared:
        check_corpus(options.corpus, text_field=options.text_field, document_per_line=options.document_per_line)
        expected = _config(options, vocab_size=min(options.vocab_size, USUAL_VOCABULARY))
        check_memory(expected, options, processes=processes)  # before the text is prepared, which takes a while
    with gone_on_bad_input(run.path, when=status is RunStatus.NEW):
        if status is RunStatus.NEW:
            if options.data is not None:  # before anything is written
                check_fit(open_prepared(options.data), options, start, processes=processes)
            run.path.mkdir(parents=True, exist_ok=True)
            writing.write_whole_text(run.configuration, options.to_toml())
        if unprepared:
            prepare(options.prepare_options(), run.data)
        corpus = open_prepared(options.data or run.data)
        repeats = duplicates_note(corpus.manifest) if unprepared else None  # a later start can't drop them any more
        notes = repeats, check_fit(corpus, options, start, processes=processes)
    terminal.say(*filter(None, notes))
    return status


def is_compiled(options: PretrainOptions, device: torch.device) -> bool:
    """Return whether the steps run through `torch.compile`: if it is asked for, or saves more time than it takes.

    Raises InputError if it is asked for but not available.
    """
    missing = missing_for_compiling(device)
    if missing is None and options.compile != "no" and _config(options).attention_window is not None:
        # Windowed attention looks at values, where compiled code breaks off.
        missing = "a model without attention_window"
    if options.compile == "yes" and missing:
        raise InputError(f"--compile yes needs {missing}")
    if options.compile == "auto":
        return missing is None and (options.minutes or 0) >= COMPILED_FROM_MINUTES
    return options.compile == "yes"


def check_lengths(config: BertConfig, options: PretrainOptions) -> None:
    """Raises InputError if a phase has longer sequences than the model has positions."""
    longest = max(seq_len for seq_len, _ in options.phases)
    if longest > config.longest:
        raise InputError(f"--seq-len {longest} is more than the model's {config.longest} positions")


def check_fit(
    corpus: PreparedCorpus, options: PretrainOptions, start: StartingModel | None, *, processes: int
) -> str | None:
    """Return a line for the user if the run will need nearly all of the memory.

    Raises InputError if the arrays have too few documents for next-sentence prediction or nothing to score, if their
    tokenizer is not the model's, if they don't count the words that --keep-at needs, or if the run needs more memory
    than there is.
    """
    config = model_config(options, corpus.tokenizer)
    check_lengths(config, options)
    if start and corpus.tokenizer.fingerprint != start.load()[1].fingerprint:
        raise InputError(f"{corpus.directory}: the arrays were made with a different tokenizer than {start.directory}")
    for phase in range(len(options.phases)):
        options.pairs(phase, corpus.tokenizer).check_room()
    if options.nsp and min(corpus.train.documents, corpus.heldout.documents) < 2:
        raise InputError(
            f"{corpus.directory}: next-sentence prediction needs at least two documents to train on and two held out; "
            "add documents or use --no-nsp"
        )
    counted = [mark.text for mark in options.marks if mark.unit == "words"]
    if counted and corpus.manifest.train.words is None:
        raise InputError(
            f"{corpus.directory} was made by an older version, which did not count the words that --keep-at "
            f"{counted[0]} needs; prepare the text again, or give shares (50%) or steps (1000steps)"
        )
    if not corpus.heldout.scored.any():
        raise InputError(
            f"{corpus.directory}: every held-out paragraph also occurs in the training documents, so nothing is left "
            "to evaluate on"
        )
    nearly = check_memory(config, options, processes=processes, corpus=corpus)
    return nearly and f"note     {nearly}"


def check_memory(
    config: BertConfig, options: PretrainOptions, *, processes: int, corpus: PreparedCorpus | None = None
) -> str | None:
    """Return a line for the user if the run will need nearly all of the memory; without a corpus, its documents are
    assumed to be as long as the sequences.

    Raises InputError, with the figures, if it needs more than there is.
    """
    device = choose_device(options.device)
    precision, on_gpu = choose_precision(options.dtype, device), device.type == "cuda"
    number, numbers = precision.dtype.itemsize, precision.parameter_dtype.itemsize
    weights = parameter_count(config, "BertForMaskedLM" if options.pair_objective == "none" else "BertForPreTraining")
    activations, batches = [], []
    for phase, (seq_len, _) in enumerate(options.phases):
        length = seq_len if corpus is None else int(mean_length(corpus.train, options.pairs(phase, corpus.tokenizer)))
        sequences = options.batch_size // (processes * options.accumulate)
        masked = int(options.mask_rate * sequences * (length - 3))
        passes = Passes(sequences, length, sequences + masked, number, dropout=options.dropout != 0, on_gpu=on_gpu)
        # Besides the logits (M, V) there is their gradient; on a GPU, their log softmax in float32.
        logits = masked * config.vocab_size * (number + (max(number, 4) if on_gpu else number))
        evaluated = int(evaluate.MASK_RATE * evaluate.BATCH_SIZE * length) * config.vocab_size * number
        activations += [passes.activations(config) + logits, evaluated]
        # The micro-batches of this step and of the next are in memory: ids and segments, in int64.
        batches.append(2 * (options.batch_size // processes * length * 16 + options.accumulate * BATCH_OBJECTS))
    by_muon = block_matrices(config) if options.optimizer == "muon" else 0
    parts = needs(
        weights=weights,
        learned=weights,
        moments=2 * weights - by_muon,  # AdamW has two, Muon one
        numbers=numbers,
        activations=max(activations) + (weights * number if number < numbers else 0),  # and the copies of autocast
        gradients_stay=options.accumulate > 1 or on_gpu,
    )
    if not on_gpu:
        parts["batches"] = max(batches)
    model = "--init" if options.init else "--model"
    smaller = f"a smaller {model}, --batch-size or --seq-len, or a larger --accumulate,"
    return check_room(parts, device, processes=processes, smaller=smaller)


def mean_length(arrays: TokenArrays, pairs: PairOptions) -> float:
    """Return the mean tokens per sequence, special ones included, by a sample of documents from all over the text."""
    documents = np.unique(np.linspace(0, arrays.documents - 1, DOCUMENTS_LOOKED_AT).astype(np.int64))
    planned = plan_block(arrays, documents, pairs, random.Random(0))
    return float((planned["a_length"] + planned["b_length"]).mean()) + pairs.seq_len - pairs.room


def model_config(options: PretrainOptions, tokenizer: Tokenizer) -> BertConfig:
    """Return the config to train; its vocabulary is the tokenizer's unless a file or a model directory gives another.

    Raises InputError if its vocabulary is smaller than the tokenizer's.
    """
    config = _config(options, vocab_size=tokenizer.vocab_size)
    if config.vocab_size < tokenizer.vocab_size:
        raise InputError(f"vocab_size {config.vocab_size} is smaller than the tokenizer's {tokenizer.vocab_size}")
    if options.init is None or not config.positions_skip_padding:  # positions of a trained model begin where they did
        config = config.replace(pad_token_id=tokenizer.pad_id)
    return config.with_separator(tokenizer.sep_id)


def _config(options: PretrainOptions, **defaults: int) -> BertConfig:
    if options.init is not None:
        return checkpoint.read_description(Path(options.init)).config
    assert options.model is not None  # `resolve` makes sure
    return config_named(options.model, **defaults)


def build_model(
    options: PretrainOptions, corpus: PreparedCorpus, start: StartingModel | None = None, *, begin: bool = True
) -> tuple[PretrainModel, TakenOver]:
    """Return the model to train, in training mode, and which weights it and --init don't have in common.

    begin: give it its first weights, which is pointless if a saved state or another process will supply them.
    """
    assert options.dropout is not None  # the rules have filled it in
    dropout = options.dropout
    config = model_config(options, corpus.tokenizer).replace(
        hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout, classifier_dropout=None
    )
    generator = torch.Generator().manual_seed(options.seed)
    model: PretrainModel
    if options.pair_objective == "none":
        model = BertForMaskedLM(config, generator=generator)
    else:
        model = BertForPreTraining(config, pair_objective=options.pair_objective, generator=generator)
    if start:
        return accelerate(model).train(), take_over(start.take(), model)
    if begin and options.first_weights == "neighbours":
        begin_at_neighbours(model, corpus.train.tokens, corpus.token_counts, generator=generator)
    return accelerate(model).train(), TakenOver([], [])


def optimizer_options(options: PretrainOptions) -> OptimizerOptions:
    """Return the part of the options that the optimizers need."""
    assert options.learning_rate is not None  # the rules have filled it in
    return OptimizerOptions(
        optimizer=options.optimizer,
        learning_rate=options.learning_rate,
        muon_learning_rate=options.block_learning_rate or 0.0,
        betas=options.betas,
        eps=options.eps,
        weight_decay=options.weight_decay,
    )
