"""One HTML file that shows what runs found."""
