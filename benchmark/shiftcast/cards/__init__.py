"""What TOML files may say, and whether they fit together."""
