"""The MI-LR module: its fit, its maps, their figures."""
