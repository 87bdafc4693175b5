"""Mail: who told whom what, and was it read."""
