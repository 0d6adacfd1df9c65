"""Load scenarios on real servers, each beside a floor that is measured in the same run."""
