"""`python -m modelyard` is `modelyard`."""

from modelyard.cli import main

main()
