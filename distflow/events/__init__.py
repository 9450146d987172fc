"""What happens to a run, told to displays, plugins, loggers and callbacks."""
