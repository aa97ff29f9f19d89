"""Drawing: palette, numbers, ticks, labels and panels, for matplotlib and SVG."""
