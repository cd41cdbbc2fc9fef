"""How good a model is: scores kept of every held-out case, and all that is computed from them."""
