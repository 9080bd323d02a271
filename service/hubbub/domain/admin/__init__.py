"""What administrators see and do: the connections of all nodes, the figures, and the events of `/admin`."""
