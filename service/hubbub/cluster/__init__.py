"""What joins nodes: the contract (`base`) and its adapters."""
