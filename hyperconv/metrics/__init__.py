"""Scores of generated images; nothing is downloaded, and only SIFID takes a network, from a file the user has."""
