"""From a name to a model in memory: where it comes from, its files, weights and tokenizer."""
