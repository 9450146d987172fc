"""RQ 2.12 and 3 behind one interface: what RQ keeps private, or names differently between versions,
is here and nowhere else. Used by coordinators and workers.
"""
