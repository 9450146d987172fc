"""One module per system: it describes a graph in that system's words, sends it and waits."""
