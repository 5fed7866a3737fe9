"""Explanations: which entities make up a reading, what each adds to it, and the facts behind that."""
