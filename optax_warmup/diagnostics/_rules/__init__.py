"""The rules of advice: each looks at the evidence and says what it finds, or nothing.

Their thresholds are explained in docs/diagnostics.md, under the code of each advice.
"""
