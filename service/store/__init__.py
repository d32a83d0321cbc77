"""Users and their histories by id, so that a caller may send ids alone.

Off unless RERANK_STORE names a store.
"""
