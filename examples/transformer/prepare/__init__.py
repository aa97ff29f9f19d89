"""Makes tokens on disk from text: `python -m examples.transformer.prepare --help`.

In reading order: documents (text, piece by piece), writer (files of tokens), prepare
(from one to the other, and how it goes on after a kill), __main__ (the command). It
does not import JAX. core/token_file.py reads the result.
"""
