"""RQ 2.12 and 3 as one: what RQ keeps private, or names differently from version to version, stands
here and nowhere else. Both coordinators and workers use it.
"""
