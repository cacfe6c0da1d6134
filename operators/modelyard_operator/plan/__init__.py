"""Pure decisions: what to create, change and delete, from what was observed. No clock, no network, no randomness."""
