"""Loading a model by its name: its source, files, weights and tokenizer."""
