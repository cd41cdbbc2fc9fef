"""From headers to studies, series and the parts of them that make one volume each."""
