"""The REST surface: the parts of the contract that need no connection."""
