"""Modelyard: one manifest from raw text to a trained, evaluated, traceable, answering model."""

__version__ = "0.1.0"
