"""Who is here, and how: pure, with the time passed in.

`holdings` knows the connections of this node, `others` what other nodes say, `leases` for how long they are believed;
`watched` is a room as its watchers see it, and `core` puts these together. `service` brings in the loop, the registry
and the store.
"""
