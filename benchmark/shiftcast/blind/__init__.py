"""Labels that are withheld: sealed, registered, opened."""
