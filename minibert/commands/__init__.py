"""The commands of `python -m minibert`: the options of each, and what it does and prints."""
