"""Leases: who may touch a resource now, and until when."""
