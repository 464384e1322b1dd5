"""Token arrays -> sentence pairs -> masked batches."""
