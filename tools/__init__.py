"""What the project does to itself: generated files, and the checks that they are what they should be.

Run by make, never by the operator; nothing in `leasehold` may import it.
"""
