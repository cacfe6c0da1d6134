"""Operators that are killed, by seed, amid a stream of parents on a real API server; played by scripts in benchmarks/.

`worlds` follows what is there, `lives` are the operator's, `stories` compares what came of a parent with what came of
one whose operator nobody killed, `runs` is the whole course.
"""
