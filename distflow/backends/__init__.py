"""Where runs live: each module joins a store, a service and a dispatcher."""
