"""Moving a whole history: to a file and from it, and from one store to another."""
