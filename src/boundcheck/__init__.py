"""boundcheck: does the theory hold on the curve?"""

__version__ = "0.1.0"
