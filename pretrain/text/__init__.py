"""Raw text -> documents -> paragraphs -> sentences, and the embedded corpus."""
