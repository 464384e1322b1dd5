"""python -m weights_convert: from Hugging Face's directories (`from-hf`), back (`to-hf`), and the proof (`verify`)."""

from minibert.console import cli

COMMANDS = {
    "from-hf": "a Hugging Face directory -> a model directory: python -m weights_convert from-hf DIR OUT [--new-head]",
    "to-hf": "a model directory -> a directory that transformers loads: python -m weights_convert to-hf DIR OUT",
    "verify": "whether both models give the same numbers: python -m weights_convert verify HF_DIR [MODEL_DIR] "
    "[--dtype float64] [--steps N]",
}


def command() -> None:
    """Run one of `COMMANDS`."""
    cli.dispatch("python -m weights_convert", cli.commands_in("weights_convert.commands:{}_command", COMMANDS))


def main() -> None:
    """Run the console script `minibert-convert`."""
    cli.run(command)


if __name__ == "__main__":
    main()
