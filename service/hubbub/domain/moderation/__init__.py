"""What keeps a room fit to be in, beside its roles: filters before a message is stored, slow mode, and purges."""
