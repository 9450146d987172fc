"""What the layers above ask of a store, a dispatcher and a backend."""
