"""Several servers behind one client: where jobs go, and where they come from."""
