"""Machine image to facts about its distribution."""
