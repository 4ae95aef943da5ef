"""Reptile-GAN (Fontanini, Pratico and Prati 2022): a GAN whose critic and input networks adapt to a domain in a few steps."""
