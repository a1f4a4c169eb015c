"""How good a model is, on labelled tiles that it has not learned from."""
