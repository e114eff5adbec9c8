# The demo's data: the embedded scenes, drawn by tools/demo.py.
_base_ = ['synthetic.py']
