"""Predictions -> figures, for people and programs."""
