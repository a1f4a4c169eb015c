"""Pool → Ranking: what to label next."""
