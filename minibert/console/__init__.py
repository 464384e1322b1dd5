"""How every command starts, reads its options, reports and ends."""
