"""Data files -> rows -> examples."""
