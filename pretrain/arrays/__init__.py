"""Sentences -> token arrays on disk, memory-mapped when they are read."""
