"""The paper's similarity figures: 15 and 16."""
