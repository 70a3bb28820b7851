"""Getting datasets: sources, transfers, archives, records."""
