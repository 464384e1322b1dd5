"""Predictions -> figures, for people and machines."""
