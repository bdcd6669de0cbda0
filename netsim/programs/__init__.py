"""What Pods and nodes run: servers, the mini-shell and its tools, and the host protocol they wait through.

A program is an ordinary coroutine that waits only through its ``Host``. The sim plane steps it in virtual
time, the kernel plane and localhost run the same coroutine on real sockets. Images map to programs in one
table (``images.py``), tools stand in one list (``tools/__init__.py``).
"""
