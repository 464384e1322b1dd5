"""python -m weights_convert: from Hugging Face's directories (`from-hf`), back (`to-hf`), and the proof (`verify`)."""

from minibert.console import cli

COMMANDS = {
    "from-hf": "convert a Hugging Face directory to a model directory: DIR OUT [--new-head]",
    "to-hf": "convert a model directory to one that transformers loads: DIR OUT",
    "verify": "compare minibert with transformers, value by value: HF_DIR [MODEL_DIR] [--dtype float64] [--steps N]",
}


def command() -> None:
    """Run one of `COMMANDS`."""
    cli.dispatch("python -m weights_convert", cli.commands_in("weights_convert.commands:{}_command", COMMANDS))


def main() -> None:
    """Run the console script `minibert-convert`."""
    cli.run(command)


if __name__ == "__main__":
    main()
