"""Other ways to a map, and controls: a function each."""
