"""Commands about runs: list, show, rerun, compare, report."""
