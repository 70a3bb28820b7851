"""The board of a suite: its tables, from stored runs."""
