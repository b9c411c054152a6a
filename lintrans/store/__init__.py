"""The store of results: found by what defines their numbers, or computed and kept."""
