"""From annotations to a promoted model: snapshot, train, gate, registry."""
