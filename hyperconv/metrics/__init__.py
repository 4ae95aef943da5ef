"""Scores of generated images. SIFID and FID take a network, from a file the user has: nothing is downloaded."""
