"""What the model is given: each token with its piece, id, segment, position and the characters that it stands for."""

from typing import Any

from minibert.config import BertConfig
from minibert.errors import InputError
from minibert.tokenizer import Batch, Tokenizer

# U+2400 and up picture the control characters: a NUL in a text is then seen, where a browser would show nothing.
CONTROL_PICTURES = {code: 0x2400 + code for code in range(0x20)} | {0x7F: 0x2421}

LONGEST_SHOWN = 2_000  # characters of a text; longer ones are cut on the page, and the page says so


def encode(tokenizer: Tokenizer, config: BertConfig, text: str, second: str | None, *, max_tokens: int) -> Batch:
    """One text or pair as a batch of one, uncut.

    Raises InputError: a text without a token, or that is no valid Unicode; more tokens than positions or `max_tokens`.
    """
    batch = tokenizer(text, second)
    for number, (name, given) in enumerate((("text", text), ("second text", second))):
        if given is not None and not (batch.sequence_ids == number).any():
            raise InputError(f"the {name} is empty: no token is left of {_shortened(given)!r}")
    tokens = batch.input_ids.size(1)
    if tokens > config.longest:
        raise InputError(f"{tokens} tokens, but the model has {config.longest} positions")
    if tokens > max_tokens:
        raise InputError(f"{tokens} tokens, but --max-tokens is {max_tokens}: give a shorter text or a larger bound")
    return batch


def described(tokenizer: Tokenizer, batch: Batch, text: str, second: str | None) -> list[dict[str, Any]]:
    """One entry a token, T in all."""
    texts = (text, second or "")
    ids = batch.input_ids[0].tolist()
    segments = batch.token_type_ids[0].tolist()
    frame = (batch.sequence_ids[0] < 0).tolist()  # so is no [SEP] that the text itself spells
    of_second = (batch.sequence_ids[0] == 1).cummax(0).values.int().tolist()  # [CLS] and [SEP] with what they follow
    offsets = batch.offsets[0].tolist()
    rows = zip(ids, segments, of_second, offsets, frame, strict=True)
    return [
        {
            "position": position,
            "piece": tokenizer.shown(token_id),
            "id": token_id,
            "segment": segment,
            "text": number,
            # [CLS] and [SEP] stand for no character of a text; their offsets are (0, 0).
            "characters": visible(texts[number][start:end]),
            "start": start,
            "end": end,
            "frame": is_frame,
        }
        for position, (token_id, segment, number, (start, end), is_frame) in enumerate(rows)
    ]


def visible(text: str) -> str:
    """A text as it can be shown: control characters as their pictures, and not endlessly long."""
    return _shortened(text).translate(CONTROL_PICTURES)


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}… ({len(text):,} characters)"
