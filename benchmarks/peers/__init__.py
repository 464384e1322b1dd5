"""What minibert is compared with. Each peer runs in a process of its own, as minibert does."""
