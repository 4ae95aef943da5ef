"""Data Instance Prior (Mangla et al. 2022): a GAN whose images are drawn around frozen features of single instances."""
