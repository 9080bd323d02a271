"""The namespaces that clients connect to: validate, call the domain, answer. Nothing else happens here."""
