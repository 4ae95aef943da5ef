"""Layers and weight sources: who makes the weights of each sample, and the modules that apply them."""
