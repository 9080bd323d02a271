"""Where rooms and messages are kept: the contract in `base`, its adapters, and the writer that groups commits."""
