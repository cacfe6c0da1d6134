"""Crash consistency on the in-memory twin: scenarios, the faults that befall them at every call, and the verdicts.

`stages` plays a scenario with the operator's real runtime in virtual time, `faults` is what may befall it, `verdicts`
compares a run with the undisturbed one.
"""
