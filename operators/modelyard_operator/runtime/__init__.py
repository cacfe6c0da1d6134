"""What keeps it going: watches, cache, queue, election, health, and the command `modelyard-operator`."""
