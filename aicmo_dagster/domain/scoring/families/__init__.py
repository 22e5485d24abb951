"""How the dimensions of each family are measured, one module a family."""
