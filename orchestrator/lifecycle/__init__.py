"""What is in memory: engine processes and the leases on them."""
