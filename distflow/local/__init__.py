"""What `distflow run` starts on one machine: a private Redis server and stock RQ workers."""
