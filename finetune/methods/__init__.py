"""Training less than everything: low-rank adapters, and only the token embeddings that are in use."""
