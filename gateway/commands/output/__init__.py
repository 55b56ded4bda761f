"""What commands print: errors, headings, JSON, diagnostics and tables."""
