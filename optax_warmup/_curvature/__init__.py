"""Curvature: how near a learning rate is to the edge of stability, asked on demand."""
