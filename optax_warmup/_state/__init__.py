"""The one room that reads an optimizer's state.

Moments, momentum, learning rates, and what our own states declare. No transform of this
package is known here by name: a state says with two properties what may be read of it
(`declared.py`). The rooms that keep such states import from here, never back.
"""
