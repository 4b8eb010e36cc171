"""Tensor-level building blocks: they know shapes, not modalities."""
