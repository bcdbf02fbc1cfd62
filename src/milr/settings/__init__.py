"""The settings of each stage, and the one table of stages."""
