"""The lab turns settings into models, texts and finished results, each made once."""
