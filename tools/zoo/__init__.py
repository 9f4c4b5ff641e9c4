"""How the nano models were trained."""
