"""Data files -> rows -> examples -> batches."""
