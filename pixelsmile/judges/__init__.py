"""Who scores expressions."""
