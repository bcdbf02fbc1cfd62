"""The command line: its help, completion and mistakes."""
