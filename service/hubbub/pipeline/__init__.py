"""What every connect and every event passes before a handler sees it: who asks, how often, and in what form."""
