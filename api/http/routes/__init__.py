"""The routes, one file per noun.

No module here, nor one that routes depend on, postpones its annotations: FastAPI reads them at
every start, for every route again, and would compile each one from its string.
"""
