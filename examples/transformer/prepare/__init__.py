"""Makes tokens on disk from text: `python -m examples.transformer.prepare --help`.

In reading order: settings, documents (text, piece by piece), writer (files of tokens),
encode (from one to the other), prepare (the whole, and how it goes on after a kill),
__main__ (the command). It does not import JAX. core/token_file.py reads the result.
"""
