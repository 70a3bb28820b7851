"""What the reference ensemble's confusion says about a suite: sets, models, claims, sensitivity."""
