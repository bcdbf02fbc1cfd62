"""Explaining a frozen network's representation by mutual information (MI-LR), on prototypical networks."""

__version__ = "0.1.0"
