"""What the commands share: options, connections, and what the terminal shows."""
