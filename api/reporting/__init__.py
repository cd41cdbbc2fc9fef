"""What a batch leaves for people: tables, files and one page to look at.

Everything comes from the records and the store; the source is not opened again.
"""

from api.reporting.export import export

__all__ = ["export"]
