"""The world outside: the API server behind one protocol, its in-memory twin, observing and executing."""
