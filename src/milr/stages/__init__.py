"""The programs, and what several of them share."""
