"""How every program of ours is started, reads its options, speaks and ends."""
