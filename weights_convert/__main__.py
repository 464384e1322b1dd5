"""python -m weights_convert: Hugging Face's directories and ours, there (`from-hf`) and back (`to-hf`)."""

from __future__ import annotations

from minibert import cli

COMMANDS = {
    "from-hf": (
        "weights_convert.commands:from_hf_command",
        "a Hugging Face directory -> a model directory: python -m weights_convert from-hf DIR OUT [--new-head]",
    ),
    "to-hf": (
        "weights_convert.commands:to_hf_command",
        "a model directory -> what transformers loads: python -m weights_convert to-hf DIR OUT",
    ),
}


def main() -> None:
    """Runs one of `COMMANDS`."""
    cli.dispatch("python -m weights_convert", COMMANDS)


if __name__ == "__main__":
    cli.run(main)
