"""The commands about runs: list, show, rerun, compare, report."""
