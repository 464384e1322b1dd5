"""Training less than everything: low-rank adapters, and the token embeddings that are in use alone."""
