"""Files that users hand in, and files that are written: read with care, written whole or not at all."""
