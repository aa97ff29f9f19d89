"""The rules of advice: each looks at the evidence and yields what it finds.

What a rule rests on, and where its thresholds come from, is in _explanations.py under
the code of its advice.
"""
