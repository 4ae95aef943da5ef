"""Scores of generated images; no network, no download."""
