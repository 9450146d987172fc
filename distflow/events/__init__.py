"""Events of runs, for displays, plugins, loggers and callbacks."""
