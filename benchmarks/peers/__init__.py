"""What ours is measured against. Each peer runs in a process of its own, as ours does."""
