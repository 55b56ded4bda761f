"""Golden cases: recorded exchanges that a provider or route must reproduce.

`run` runs a case, `request` makes its request, `parts` converts its other parts, `differences` compares. `resign` makes
a sample request valid for now.
"""
