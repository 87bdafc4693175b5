"""The half of `run` that touches processes: the shim, its spool, what is true about attempts."""
