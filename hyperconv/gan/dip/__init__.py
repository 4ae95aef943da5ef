"""Data Instance Prior (Mangla et al. 2022): a GAN whose generator and critic see features of an image, from a frozen net."""
