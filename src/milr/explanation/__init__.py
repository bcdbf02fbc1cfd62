"""The MI-LR module: its fit on a frozen network, and its maps."""
