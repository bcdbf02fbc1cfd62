"""The configs of every stage, installed as the package `milr.conf` and found by Hydra as `pkg://milr.conf`."""
