"""The page of a report: its parts, its charts, its words, and how they become HTML."""
