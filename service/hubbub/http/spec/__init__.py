"""`GET /api/spec`: the contract for machines, made from the schemas that validate."""
