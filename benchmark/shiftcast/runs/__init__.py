"""What is stored of runs, and whether it is sound."""
