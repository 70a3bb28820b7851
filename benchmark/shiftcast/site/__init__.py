"""The benchmark as a site of files: pure functions from scores, stored outputs and cards to HTML."""
