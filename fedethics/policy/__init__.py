"""What one site allows, and the permit that follows or the reasons why not."""
