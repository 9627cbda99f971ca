"""One module per paper, one pure function per theorem or lemma."""
