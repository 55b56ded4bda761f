"""Golden cases: recorded exchanges that a provider or route must reproduce.

`run` runs a case, `request` makes its request, `parts` converts and compares its other parts. `resign` makes
a sample request valid for now.
"""
