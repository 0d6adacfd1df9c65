"""Values to bytes: what a template makes of the fetched values. Pure; knows no cluster and no backend."""
