"""Data Instance Prior (Mangla et al., WACV 2022): a GAN whose images are drawn around frozen features of single instances.

Of the paper: a prior from a network trained elsewhere, SNGAN, BigGAN and StyleGAN2 under it, few-shot transfer, conditional
normalisation in the generator and a projection discriminator. Of IC-GAN's public code (Casanova et al., NeurIPS 2021):
features of unit norm, a gain of 1 + a linear map, noise in parts, nearest neighbours as real images. The sizes of nets and
all numbers of training are those of the nets' own papers as far as they fit, or a choice made here.
"""
