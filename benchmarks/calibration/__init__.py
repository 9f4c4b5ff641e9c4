"""How often the trials pass on null models, and on models with planted or trained neurons: a table of both."""
