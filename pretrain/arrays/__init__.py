"""Sentences -> token arrays on disk, and back into memory, mapped."""
