"""The commands of `python -m minibert`, each from its options to what it prints."""
